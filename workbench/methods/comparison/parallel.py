"""Parallel coordinates: one line a trial, one axis a hyperparameter; brushing an axis selects trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import traitlets

from workbench.core.config import HYPERPARAMETERS
from workbench.core.direction import Better, best_first
from workbench.core.domains import IntRange, Range
from workbench.ui.kept import STATIC, KeptWidget

__all__ = ["MOST", "ParallelCoordinates"]

MOST = 2000
"""More trials than this make a black area, and a message of some 100 kB: then the best ones are shown."""


class ParallelCoordinates(KeptWidget):
    """The trials of a DataFrame; read-only but for `selected`, which the page sets.

    axes: name, label, low, high, log and categories of each axis, the last one the metric. values: float32, row by row.
    trials: the number of each row. selected: the trials within all brushes, empty without one. highlighted: drawn bold.
    """

    _esm = STATIC / "parallel.js"
    _css = STATIC / "parallel.css"

    axes: Any = traitlets.List().tag(sync=True)
    values = traitlets.Bytes(b"").tag(sync=True)
    trials: Any = traitlets.List().tag(sync=True)
    better = traitlets.Unicode("higher").tag(sync=True)
    selected: Any = traitlets.List().tag(sync=True)
    brushed = traitlets.Bool(False).tag(sync=True)
    highlighted: Any = traitlets.List().tag(sync=True)

    def show(self, frame: pd.DataFrame, names: Sequence[str], *, metric_label: str, better: Better) -> None:
        """Show the trials of `frame` (as `bench.trials` gives it) that have a finite metric, over these hyperparameters."""
        frame = frame[np.isfinite(frame["best_val_metric"].astype(float))]
        if len(frame) > MOST:
            frame = best_first(frame, "best_val_metric", better).head(MOST).sort_values("trial")
        columns, axes = [], []
        for name in names:
            numbers, axis = _axis(frame[name], name)
            columns.append(numbers)
            axes.append(axis)
        metric = frame["best_val_metric"].to_numpy(float)
        if len(frame):
            columns.append(metric)
            axes.append(_record("best_val_metric", metric_label, metric.min(), metric.max()))
        table = np.column_stack(columns).astype("<f4") if len(frame) and names else np.empty((0, 0), "<f4")
        with self.hold_sync():
            self.better = better
            self.trials = [int(trial) for trial in frame["trial"]] if table.size else []
            self.axes = axes if table.size else []
            self.values = table.tobytes()


def _axis(values: pd.Series[Any], name: str) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    declaration = HYPERPARAMETERS.get(name)
    label = name.replace("_", " ")
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        known = sorted({str(value) for value in values.dropna()})
        numbers = values.map(lambda value: known.index(str(value)), na_action="ignore").to_numpy(float, na_value=np.nan)
        return numbers, _record(name, label, 0, max(0, len(known) - 1), categories=known)
    numbers = values.to_numpy(float, na_value=np.nan)
    finite = numbers[np.isfinite(numbers)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    domain = declaration.domain if declaration is not None else None
    log = isinstance(domain, (Range, IntRange)) and domain.scale != "linear" and low > 0
    return numbers, _record(name, label, low, high, log=log)


def _record(
    name: str, label: str, low: float, high: float, *, log: bool = False, categories: list[str] | None = None
) -> dict[str, Any]:
    return {
        "name": name, "label": label, "low": float(low), "high": float(high), "log": log, "categories": categories,
    }  # fmt: skip
