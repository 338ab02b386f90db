"""What trials differ in, as text and as HTML."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from workbench.core.registry import METRICS
from workbench.core.text import in_sentence
from workbench.ui.tables import heading, html_table

__all__ = ["TrialDiff", "metric_words"]

PARTS = {
    "hyperparameter": "Hyperparameters", "live change": "Live changes", "branch": "Branch", "code": "Code", "data": "Data",
    "result": "Result",
}  # fmt: skip
"""Headings of the parts of the table; those of the other parts are labels of metrics."""


LONGEST = 400
"""Characters of a cell."""


def metric_words(metric: str) -> str:
    """The label of a metric within a sentence; its name if it is not registered here."""
    return in_sentence(METRICS[metric].label) if metric in METRICS else metric


@dataclass(frozen=True, eq=False, repr=False)
class TrialDiff:
    """What some trials differ in.

    trials: their numbers. table: one row for each thing in which they differ, one column a trial. Its index has two levels,
    part and name: "hyperparameter" (NaN where the choices of a trial do not read it), "live change" (by hyperparameter, also
    those of the trial that it was branched from, as text), "branch", "code" (identities of your own builders, losses...),
    "data" (version, metric, monitor), "result", and each metric of the task, with score (validation, at the trial's best
    epoch), seeds, mean, low and high of its configuration, difference (of the mean to that of the first trial) and p_value (of
    that difference), as `bench.leaderboard` computes them; NaN where they are not compared.
    sentences: the comparison in words, and why trials are not compared. source: how the source text of a model's builder
    changed, as a unified diff; "" where it did not.
    """

    trials: tuple[int, ...]
    table: pd.DataFrame
    sentences: tuple[str, ...]
    source: str = ""

    @property
    def title(self) -> str:
        """What differs, in one sentence."""
        which = f"{', '.join(map(str, self.trials[:-1]))} and {self.trials[-1]}"
        names = {part: [name for one, name in self.table.index if one == part] for part in PARTS}
        found = [name.replace("_", " ") for name in names["hyperparameter"]]
        found += [f"live changes of the {name.replace('_', ' ')}" for name in names["live change"]]
        found += ["branch point"] * bool(names["branch"])
        found += [f"code of the {name}" for name in names["code"]] + [f"{name} of the data" for name in names["data"]]
        return (
            f"Trials {which} differ in: {', '.join(found)}."
            if found
            else f"Trials {which} were trained in the same way."
        )

    def parts(self) -> list[tuple[str, pd.DataFrame]]:
        """The table as it is shown: heading and cells of each part."""
        found = []
        for part in dict.fromkeys(self.table.index.get_level_values("part")):
            rows = self.table.loc[part]
            if part in PARTS:
                lines = [(name.replace("_", " "), [_cell(value) for value in rows.loc[name]]) for name in rows.index]
            else:
                lines = _of_metric(rows, self.trials[0])
            columns = ["", *(f"trial {trial}" for trial in self.trials)]
            label = PARTS.get(part) or (METRICS[part].label if part in METRICS else part)
            found.append((label, pd.DataFrame([[name, *cells] for name, cells in lines], columns=columns)))
        return found

    def __repr__(self) -> str:
        said = "\n".join([self.title, *self.sentences])
        tables = [f"{label}\n{frame.to_string(index=False)}" for label, frame in self.parts()]
        return "\n\n".join([said, *tables, *([self.source] if self.source else [])])

    def _repr_html_(self) -> str:
        said = "".join(f"<div>{html.escape(line)}</div>" for line in [self.title, *self.sentences])
        tables = "".join(heading(label) + html_table(frame, longest=LONGEST) for label, frame in self.parts())
        source = f"{heading('Source of the builder')}<pre>{html.escape(self.source)}</pre>" if self.source else ""
        return f'<div class="wb-diff">{said}{tables}{source}</div>'


def _of_metric(rows: pd.DataFrame, first: int) -> list[tuple[str, list[str]]]:
    """Lines of a metric: the score of each trial, and of its configuration the mean with its interval and the comparison."""
    known = [seeds > 0 for seeds in rows.loc["seeds"]]
    means = [
        f"{_score(mean)} ({seeds})" if seeds else ""
        for mean, seeds in zip(rows.loc["mean"], rows.loc["seeds"], strict=True)
    ]
    bounds = [
        ("" if not shown else "needs 2 seeds" if math.isnan(low) else f"{_score(low)} to {_score(high)}")
        for low, high, shown in zip(rows.loc["low"], rows.loc["high"], known, strict=True)
    ]
    lines = [("score at the best epoch", [_score(value) for value in rows.loc["score"]])]
    if any(known):
        lines += [("mean of the configuration (seeds)", means), ("95% interval of the mean", bounds)]
    if any(not math.isnan(value) for value in rows.loc["difference"]):
        pairs = zip(rows.loc["difference"], rows.loc["p_value"], strict=True)
        lines.append((f"against trial {first}", [_difference(one, p) for one, p in pairs]))
    return lines


def _difference(value: float, p_value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:+.4f} ({'p unknown: needs more seeds' if math.isnan(p_value) else f'p = {p_value:.2g}'})"


def _score(value: float) -> str:
    """A score with the digits of the leaderboard; very large and small ones by significant digits."""
    if math.isnan(value):
        return ""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.4g}"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "off" if value is None else str(value)
