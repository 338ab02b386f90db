"""Rows in the order of time, and where it is cut: never within rows of the same time."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import TaskError
from workbench.core.text import counted
from workbench.tasks.row_identity import drawn
from workbench.tasks.split import span

__all__ = ["TimeOrder"]

YEAR = r"\s*\d{4}"
"""How a date in ISO 8601 begins, unlike "now"."""
ZONE = r"[T ]\d\d.*(?:Z|[+-]\d\d:?(?:\d\d)?)\s*$"
"""How a date with a time zone ends."""


@dataclass(frozen=True, eq=False)
class TimeOrder:
    """The time of each row. times: (rows,) float64 numbers, or int64 nanoseconds. gap: rows, or a time in the unit of `times`.

    keys: of the rows, which order those of one time. field: how messages call the times.
    """

    times: NDArray[Any]
    gap: Any
    timed_gap: bool
    keys: NDArray[np.uint64]
    field: str

    @classmethod
    def of(cls, values: NDArray[Any], field: str, gap: Any, keys: NDArray[np.uint64]) -> TimeOrder:
        """Raises: TaskError for values that have no order of time, and a gap that does not fit them."""
        times, dates = _times(values, field)
        timed = isinstance(gap, pd.Timedelta)
        if timed and not dates:
            raise TaskError(
                f"gap={span(gap)!r}: is a time, and {field} holds numbers; give a number of rows, or dates as the order"
            )
        return cls(times, gap.as_unit("ns").value if timed else gap, timed, keys, field)

    def sorted(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows by time, those of one time in an order that depends on the rows alone."""
        found: NDArray[np.int64] = rows[np.lexsort((drawn(self.keys[rows], "order"), self.times[rows]))]
        return found

    def divided(self, shares: Sequence[float]) -> NDArray[np.int64]:
        """The split of each row as an index into `SPLITS`, -1 for those in a gap. Raises: TaskError for too few times."""
        rows = self.sorted(np.arange(len(self.times)))
        asked = [index for index in range(3) if shares[index] > 0]
        ends = self._cuts(rows, [sum(shares[: index + 1]) * len(rows) for index in asked[:-1]], "splits")
        starts, places = [0, *ends], np.full(len(rows), -1)
        for index, start, end in zip(asked, starts, [*ends, len(rows)], strict=True):
            last = end if end == len(rows) else self.before(rows, end)
            if last <= start:
                raise TaskError(
                    f"gap={self._shown()}: leaves no {('training', 'validation', 'test')[index]} row; give a smaller gap"
                )
            places[rows[start:last]] = index
        return places

    def _cuts(self, rows: NDArray[np.int64], wanted: Sequence[float], what: str) -> list[int]:
        """Where to cut sorted rows, at changes of the time, near to the places wanted, with a time at least in each piece."""
        times = self.times[rows]
        changes = np.flatnonzero(times[1:] != times[:-1]) + 1
        if len(changes) < len(wanted):
            raise TaskError(
                f"{self.field} has {counted(len(changes) + 1, 'different value')}: too few for {len(wanted) + 1} {what}, since "
                "rows of the same time stay together; give finer times, or fewer of them"
            )
        cuts: list[int] = []
        for index, place in enumerate(wanted):
            first = 0 if not cuts else int(np.searchsorted(changes, cuts[-1], side="right"))
            among = changes[first : len(changes) - (len(wanted) - index - 1)]
            cuts.append(int(among[np.abs(among - place).argmin()]))
        return cuts

    def before(self, rows: NDArray[np.int64], start: int) -> int:
        """How many of the sorted rows stand before the gap in front of the row at `start`."""
        if not self.timed_gap:
            return start - int(self.gap)
        times = self.times[rows[:start]]
        return int(np.searchsorted(times, self.times[rows[start]] - self.gap, side="right")) if self.gap else start

    def folds(self, rows: NDArray[np.int64], count: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Folds that go forward: equal pieces are validated one after another, each after training on all rows before it.

        As scikit-learn's `TimeSeriesSplit`, with rows of one time kept together.
        """
        rows = self.sorted(rows)
        size = len(rows) // (count + 1)
        ends = self._cuts(rows, [len(rows) - (count - index) * size for index in range(count)], "pieces of folds")
        found = []
        for number, (start, end) in enumerate(zip(ends, [*ends[1:], len(rows)], strict=True), 1):
            last = self.before(rows, start)
            if last < 1:
                raise TaskError(f"gap={self._shown()}: leaves no training row in fold {number}; give a smaller gap")
            found.append((rows[:last], rows[start:end]))
        return found

    def edges(self, parts: Sequence[NDArray[np.int64]]) -> list[tuple[Any, Any]]:
        """The first and last time of each split, None for an empty one."""
        return [(self.times[part].min(), self.times[part].max()) if len(part) else (None, None) for part in parts]

    def placed(self, edges: Sequence[tuple[Any, Any]]) -> NDArray[np.int64]:
        """The split of each row by the times of splits made before; -1 for rows in a gap."""
        held = [index for index in range(3) if edges[index][0] is not None]
        places = np.full(len(self.times), -1)
        for turn, index in enumerate(held):
            first = -np.inf if turn == 0 else edges[index][0]
            following = held[turn + 1] if turn + 1 < len(held) else None
            inside = self.times >= first
            if following is not None:
                inside &= self.times <= edges[index][1] if self.gap else self.times < edges[following][0]
            places[inside] = index
        return places

    def _shown(self) -> str:
        return repr(span(self.gap)) if self.timed_gap else repr(self.gap)


YEARS = 1678, 2261
"""The first and last year whose dates are all nanoseconds in an int64."""


def _far(field: str, date: Any) -> str:
    return (
        f"{field} has the date {date}: the years {YEARS[0]} to {YEARS[1]} can be used; give a number a row, such as the year, or "
        "drop these rows"
    )


def _times(values: NDArray[Any], field: str) -> tuple[NDArray[Any], bool]:
    """Numbers as they are, or dates as nanoseconds in int64, and whether they are dates."""
    if values.dtype.kind == "M":
        years = values.astype("datetime64[Y]").astype(np.int64) + 1970
        far = values[(years < YEARS[0]) | (years > YEARS[1])]
        if len(far):
            raise TaskError(_far(field, far[0]))
        return values.astype("datetime64[ns]").astype(np.int64), True
    if values.dtype.kind == "m":
        return values.astype("timedelta64[ns]").astype(np.int64), True
    if values.dtype.kind in "iuf":
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise TaskError(f"{field} has infinite values; give a date or a finite number a row")
        return values, False
    objects = values.tolist()
    if all(isinstance(value, (datetime.date, pd.Period)) for value in objects):
        zones = [getattr(value, "tzinfo", None) is not None for value in objects]
        if any(zones) and not all(zones):
            _raise_mixed_zones(field, objects, zones)
        beyond = next((value for value in objects if not YEARS[0] <= value.year <= YEARS[1]), None)
        if beyond is not None:
            raise TaskError(_far(field, beyond))
        stamps = [value.start_time if isinstance(value, pd.Period) else pd.Timestamp(value) for value in objects]
        return np.array([stamp.as_unit("ns").value for stamp in stamps], np.int64), True
    if all(not isinstance(value, bool) and isinstance(value, (Real, Decimal)) for value in objects):
        return np.array(objects, np.float64), False
    if all(isinstance(value, str) for value in objects):
        return _parsed(objects, field), True
    kinds = sorted({type(value).__name__ for value in objects})
    if len(kinds) == 1:
        raise TaskError(f"{field} holds {kinds[0]}s, such as {objects[0]!r}; give one date or one number a row")
    odd = next(row for row, value in enumerate(objects) if type(value) is not type(objects[0]))
    raise TaskError(
        f"{field} holds {', '.join(kinds)}, such as {objects[0]!r} in row 0 and {objects[odd]!r} in row {odd}; give one date or "
        "one number a row, all of one type"
    )


def _raise_mixed_zones(field: str, dates: Sequence[Any], zones: Sequence[bool]) -> NoReturn:
    """Raises: TaskError naming a date without a time zone, and one that has one."""
    row, other = zones.index(False), zones.index(True)
    raise TaskError(
        f"{field} has no time zone in row {row}, {str(dates[row])!r}, and one in row {other}, {str(dates[other])!r}; give all "
        "dates with one, or none"
    )


def _parsed(texts: Sequence[str], field: str) -> NDArray[np.int64]:
    """Dates as text in ISO 8601, as nanoseconds. Raises: TaskError naming the row of a text that is no such date, or that has no
    time zone where others have one."""
    column = pd.Series(texts, dtype=object)
    dates = pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True)
    wrong = (dates.isna() | ~column.str.match(YEAR)).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise TaskError(
            f"{field} has the text {texts[row]!r} in row {row}, which is no date in ISO 8601, such as '2024-03-31' or "
            "'2024-03-31 14:05'; parse the dates with pd.to_datetime(..., format=...), or make numbers with pd.to_numeric, first"
        )
    zoned = column.str.contains(ZONE).to_numpy()
    if zoned.any() and not zoned.all():
        _raise_mixed_zones(field, texts, zoned.tolist())
    far = ((dates.dt.year < YEARS[0]) | (dates.dt.year > YEARS[1])).to_numpy()
    if far.any():
        raise TaskError(_far(field, texts[int(far.argmax())]))
    return np.asarray(dates.dt.as_unit("ns").astype(np.int64).to_numpy())
