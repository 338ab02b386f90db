"""Live curves: charts side by side that grow while trials train, drawn by a small front end on uPlot.

The kernel keeps every point once and numbers every message; the front end's model does the same on its side, therefore
several views, a page reload and a busy kernel all show the same picture in the end. Values travel as binary float32: NaN and
infinity survive. The protocol is described in docs/live-curves.md.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any, Literal, get_args

import numpy as np
import traitlets
from numpy.typing import NDArray

from workbench.core.direction import Better
from workbench.core.errors import did_you_mean
from workbench.ui.kept import STATIC, KeptWidget
from workbench.ui.wire import pack, thinned

__all__ = ["Chart", "LiveCurves", "Mark", "Series"]

Role = Literal["train", "validation"]
Style = Literal["live", "selected", "faint"]
MarkKind = Literal["best", "change", "diverged", "stopped"]
Points = tuple[Sequence[float] | NDArray[Any], Sequence[float] | NDArray[Any]]

CHECKPOINT_POINTS = 500_000
"""At most so many points (4 MB) go to a reloaded page; beyond, curves are thinned to their extremes."""
LOADING_SECONDS = 120.0
"""A page that has asked for the state and sends nothing for so long is given up."""


def _one_of(field: str, value: object, choices: Any) -> None:
    names = get_args(choices)
    if value not in names:
        raise ValueError(f"unknown {field} {value!r}{did_you_mean(str(value), names)}")


@dataclass(frozen=True, slots=True)
class Chart:
    """One of the charts side by side. better: the worse side is the one where outliers may leave the axis."""

    key: str
    title: str
    y_label: str = ""  # what is measured, with its unit
    log: bool = False  # starts with a logarithmic y axis
    better: Better = "lower"

    def __post_init__(self) -> None:
        _one_of("better", self.better, Better)


@dataclass(frozen=True, slots=True)
class Series:
    """One curve. Series of one `group` (the seeds of one configuration) are drawn as their mean with a min-max band."""

    id: str
    chart: str  # a Chart's key
    trial: int
    label: str  # names the trial in the legend, or the whole group
    role: Role = "validation"
    group: str | None = None
    style: Style = "live"

    def __post_init__(self) -> None:
        _one_of("role", self.role, Role)
        _one_of("style", self.style, Style)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something worth seeing on a trial's curves at `epoch`."""

    trial: int
    epoch: float
    kind: MarkKind
    text: str = ""


class _Curve:
    """A series with its number on the wire and its points."""

    def __init__(self, handle: int, series: Series) -> None:
        self.handle = handle
        self.series = series
        self.x = array("d")
        self.y = array("d")


class LiveCurves(KeptWidget):
    """N charts over one x axis, appended to while trials train. Every method may be called from any thread.

    charts: the charts, left to right; fixed after construction.
    x_label: the quantity on the x axis.
    epochs: the last x expected (0: unknown); keeps the axis from moving at each new epoch.
    empty_text: shown in the charts while there is no point.
    pick_hint: what a click on a point does, shown at the pointer; "" shows nothing.
    picked: trial and epoch of a point that is marked, or ().
    """

    _esm = STATIC / "curves.js"
    _css = STATIC / "curves.css"

    charts = traitlets.Tuple().tag(sync=True, to_json=lambda charts, _: [asdict(chart) for chart in charts])
    x_label = traitlets.Unicode("epoch").tag(sync=True)
    epochs = traitlets.Int(0, min=0).tag(sync=True)
    empty_text = traitlets.Unicode("Press Train: curves appear here").tag(sync=True)
    pick_hint = traitlets.Unicode("").tag(sync=True)
    picked: Any = traitlets.Tuple().tag(sync=True)

    def __init__(self, charts: Sequence[Chart], *, x_label: str = "epoch", epochs: int = 0, **traits: Any) -> None:
        keys = [chart.key for chart in charts]
        if not keys or len(set(keys)) < len(keys):
            raise ValueError(f"charts needs one or more charts with different keys, got the keys {keys}")
        self._lock = threading.RLock()
        self._curves: dict[str, _Curve] = {}
        self._marks: dict[tuple[object, ...], Mark] = {}
        self._handles = 0  # handles are never used twice: a late message cannot reach a newer curve
        self._sequence = 0
        self._held = 0
        self._operations: list[dict[str, Any]] = []
        self._buffers: list[bytes] = []
        self._picked: list[Callable[[int, float], object]] = []
        self._loading_since = -np.inf
        super().__init__(charts=tuple(charts), x_label=x_label, epochs=epochs, **traits)
        self.on_msg(self._receive)

    @property
    def loading(self) -> bool:
        """Whether a page is being loaded: it has asked for the whole state, and its `hello` has not come yet."""
        return time.monotonic() - self._loading_since < LOADING_SECONDS

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> Any:
        """As of any widget; a request for everything comes from a page that loads."""
        if key is None and self.comm is not None:
            self._loading_since = time.monotonic()
        return super().get_state(key, drop_defaults)

    @property
    def series(self) -> tuple[Series, ...]:
        """The declared series, in the order of their declaration."""
        with self._lock:
            return tuple(curve.series for curve in self._curves.values())

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The current marks."""
        with self._lock:
            return tuple(self._marks.values())

    def checkpoint(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """All points: the series' id to its (x, y), each of shape (points,) float64."""
        with self._lock:
            return {name: (np.array(curve.x), np.array(curve.y)) for name, curve in self._curves.items()}

    def declare(self, series: Sequence[Series]) -> None:
        """Announces series. A known id keeps its points and takes the new label, group and style.

        Raises: ValueError if a series names an unknown chart, or moves to another chart, trial or role.
        """
        charts = [chart.key for chart in self.charts]
        with self.hold():
            for one in series:
                if one.chart not in charts:
                    raise ValueError(f"series {one.id!r}: unknown chart {one.chart!r}{did_you_mean(one.chart, charts)}")
                if one.id in self._curves:
                    old = self._curves[one.id].series
                    if (old.chart, old.trial, old.role) != (one.chart, one.trial, one.role):
                        raise ValueError(f"series {one.id!r} is already declared as {old}; remove it first")
            fresh: list[_Curve] = []
            for one in series:
                curve = self._curves.get(one.id)
                if curve is None:
                    self._handles += 1
                    curve = self._curves[one.id] = _Curve(self._handles, one)
                curve.series = one
                fresh.append(curve)
            self._enqueue(_declaration(fresh))

    def append(self, points: Mapping[str, Points]) -> None:
        """Adds points to declared series, in one message: series id to (x, y), x finite and increasing within a series.

        Raises: ValueError for an unknown id, x and y of different lengths, or an x that does not increase; nothing is
        added then.
        """
        with self.hold():
            curves: list[_Curve] = []
            runs: list[tuple[int, array[float], array[float]]] = []
            for name, (xs, ys) in points.items():
                curve, x, y = self._curve(name), array("d", xs), array("d", ys)
                if len(x) != len(y):
                    raise ValueError(f"series {name!r}: x has {len(x)} values and y {len(y)}; give one y for each x")
                if not x:
                    continue
                before = curve.x[-1] if curve.x else -np.inf
                if not (before < x[0] and isfinite(x[-1]) and (len(x) == 1 or bool(np.all(np.diff(x) > 0)))):
                    raise ValueError(
                        f"series {name!r}: x must be finite and increase, got {x[0]:g} ... {x[-1]:g} after {before:g}; "
                        "to draw the curve again, remove() and declare() it"
                    )
                curves.append(curve)
                runs.append((curve.handle, x, y))
            for curve, (_, x, y) in zip(curves, runs, strict=True):
                curve.x.extend(x)
                curve.y.extend(y)
            if runs:
                self._enqueue(_appending(runs), pack(runs))

    def restyle(self, ids: str | Iterable[str], style: Style) -> None:
        """Changes how series are drawn: live, selected, or faint in the background. Raises: ValueError if unknown."""
        names = [ids] if isinstance(ids, str) else list(ids)
        with self._lock:
            self.declare([replace(self._curve(name).series, style=style) for name in names])

    def mark(self, trial: int, epoch: float, kind: MarkKind, text: str = "") -> None:
        """Marks a trial's curves. A trial has one best, one diverged and one stopped mark; a later one replaces it.

        Raises: ValueError for an unknown kind, an epoch that is not finite, or a trial without a declared series.
        """
        _one_of("kind of mark", kind, MarkKind)
        if not isfinite(epoch):
            raise ValueError(f"epoch of a mark must be finite, got {epoch}")
        with self.hold():
            if all(curve.series.trial != trial for curve in self._curves.values()):
                raise ValueError(f"trial {trial} has no series to mark; declare() one first")
            mark = Mark(trial, epoch, kind, text)
            self._marks[(trial, kind, epoch, text) if kind == "change" else (trial, kind)] = mark
            self._enqueue(_marking(kind, [mark]))

    def remove(self, ids: str | Iterable[str]) -> None:
        """Removes series with their points, and the marks of trials that have none left.

        Raises: ValueError for an unknown id; nothing is removed then.
        """
        names = [ids] if isinstance(ids, str) else list(ids)
        with self.hold():
            handles = [self._curve(name).handle for name in names]
            for name in names:
                self._curves.pop(name, None)
            left = {curve.series.trial for curve in self._curves.values()}
            self._marks = {key: mark for key, mark in self._marks.items() if mark.trial in left}
            if handles:
                self._enqueue({"op": "remove", "handles": sorted(set(handles))})

    def clear(self) -> None:
        """Removes everything; the charts are empty again."""
        with self.hold():
            self._curves.clear()
            self._marks.clear()
            self._enqueue({"op": "clear"})

    def on_pick(self, callback: Callable[[int, float], object]) -> None:
        """Calls `callback(trial, epoch)` when a point is clicked. It may run on any thread, and must only enqueue."""
        self._picked.append(callback)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Send all that is called within as one message at the end; other threads wait."""
        with self._lock:
            self._held += 1
            try:
                yield
            finally:
                self._held -= 1
                if not self._held:
                    self._flush()

    def _flush(self) -> None:
        if self._operations:
            operations, self._operations = _merged(self._operations), []
            buffers, self._buffers = self._buffers, []
            self._sequence += 1
            # a page that does not load, but has lost the connection for a while, answers
            asks = {"ask": True} if self.loading else {}
            self.send({"seq": self._sequence, "ops": operations, **asks}, buffers)

    def _curve(self, name: str) -> _Curve:
        try:
            return self._curves[name]
        except KeyError:
            raise ValueError(
                f"unknown series {name!r}{did_you_mean(name, self._curves)}; declare() a series before using it"
            ) from None

    def _enqueue(self, operation: dict[str, Any], *buffers: bytes) -> None:
        self._operations.append(operation)
        self._buffers.extend(buffers)

    def _receive(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        if content.get("kind") in ("hello", "here"):
            self._loading_since = -np.inf
        if content.get("kind") == "hello":
            self._send_checkpoint()
        elif content.get("kind") == "pick":
            for callback in tuple(self._picked):
                callback(int(content["trial"]), float(content["epoch"]))

    def _send_checkpoint(self) -> None:
        """Send the whole state under the number of the last message; a front end that has that message ignores it."""
        with self._lock:
            self._flush()  # what waits is in the checkpoint, and must not follow it
            curves = list(self._curves.values())
            operations = [_declaration(curves)]
            buffers: list[bytes] = []
            share = max(CHECKPOINT_POINTS // max(len(curves), 1), 6)
            runs = [
                (curve.handle, *thinned(np.array(curve.x), np.array(curve.y), share)) for curve in curves if curve.x
            ]
            if runs:
                operations.append(_appending(runs))
                buffers.append(pack(runs))
            operations += [_marking(mark.kind, [mark]) for mark in self._marks.values()]
            self.send({"seq": self._sequence, "checkpoint": True, "ops": _merged(operations)}, buffers)


def _declaration(curves: Iterable[_Curve]) -> dict[str, Any]:
    return {"op": "declare", "series": [{"handle": curve.handle, **asdict(curve.series)} for curve in curves]}


def _appending(runs: Sequence[tuple[int, Any, Any]]) -> dict[str, Any]:
    return {"op": "append", "runs": len(runs), "points": sum(len(x) for _, x, _ in runs)}


def _marking(kind: str, marks: Sequence[Mark]) -> dict[str, Any]:
    trials, epochs, texts = ([getattr(mark, name) for mark in marks] for name in ("trial", "epoch", "text"))
    return {"op": "mark", "kind": kind, "trials": trials, "epochs": epochs, "texts": texts}


def _merged(operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join neighbouring marks of one kind into one operation: 64 trials with a new best epoch make a small message."""
    merged: list[dict[str, Any]] = []
    for operation in operations:
        last = merged[-1] if merged else None
        if last and operation["op"] == "mark" == last["op"] and operation["kind"] == last["kind"]:
            for column in ("trials", "epochs", "texts"):
                last[column] += operation[column]
        else:
            merged.append(operation)
    return merged
