"""What a diagnosis is made of: the case that the rules look at, what they find, and what they prescribe."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from workbench.core.config import Config
from workbench.core.direction import Better, sign
from workbench.metrics.intervals import LEVEL, standard_error
from workbench.models.layers import LayerFacts

__all__ = [
    "HEALTHY",
    "Case",
    "Finding",
    "Learned",
    "OutputBounds",
    "Prescription",
    "Rival",
    "RuleFindings",
    "Slope",
    "slope",
]

HEALTHY = "healthy"
UNSCORED = "unscored"
"""The verdict on a trial whose metric is not defined in any epoch, if no rule finds anything."""
FAR_FROM_BASELINE = 1.2
"""So many times the baseline's loss, an untrained model's is another level."""
RANKS = 0.05
"""Rows that are ranked so well with a smaller probability than this are not ranked by chance."""
Learned = tuple[int | None, int]
"""A patience and the number of trials it was learned from; None: none saves epochs there."""


class OutputBounds(NamedTuple):
    """The smallest and the largest output of a module whatever its weights. sums_to_one: whether each row's outputs do, as a
    softmax's."""

    low: float
    high: float
    sums_to_one: bool


class Slope(NamedTuple):
    """A slope per epoch with its 95% interval, and the height of its line at the first and at the last epoch."""

    value: float
    low: float
    high: float
    first: float
    last: float


def slope(x: Sequence[float] | NDArray[Any], y: Sequence[float] | NDArray[Any]) -> Slope:
    """The least-squares line through points, with Student's t interval of its slope (`scipy.stats.linregress`).

    The interval takes the errors for independent; those of a learning curve are not quite, so it is somewhat too narrow.
    All NaN with fewer than 3 finite points.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    known = np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < 3:
        return Slope(*[math.nan] * 5)
    fit: Any = stats.linregress(x, y)
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(x) - 2) * fit.stderr)
    value, start = float(fit.slope), float(fit.intercept)
    return Slope(value, value - half, value + half, start + value * float(x[0]), start + value * float(x[-1]))


@dataclass(frozen=True)
class Rival:
    """The best other configuration. trial: its first. scores: of its seeds, on the validation split."""

    trial: int
    scores: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """Everything that the rules read; they change nothing in it.

    curve: the trial's epochs as `bench.curves` gives them, at least one. config: as it ended, live changes included.
    baseline_loss, baseline_score: of a model that ignores its input, on the validation split; the loss is NaN where the trial
    minimises another one than the task's own. best_score: the best known on this task in the log, this trial's included. rows:
    of the validation split. seeds: curves of the other seeds of the same configuration; scores: of all seeds of it that ran to
    their end. rival: the best other configuration, None if there is none. leads: whether this configuration is first. initial,
    trained: its layers at the initial weights, and at those after `trained_epoch`; None if not available. untrained_loss: on
    the training split, of a model whose outputs are all zero, as those of an untrained one nearly are; NaN as baseline_loss is.
    learned_patience: asks the log for one, None while it has too few trials; asked only where it is needed, since it goes
    through all curves. classes: None for a regression. output_bounds: the smallest and the largest output that its module can
    return, whatever its weights; None where they have no bounds, or these are not known. unreachable: share of the training
    targets beyond those bounds, of a regression. chance: asks for the probability that predictions which know nothing rank the
    validation rows as well as the trial's (`relation.chance_of_ranking`), None where that is not known; asked only where the
    score does not differ from the baseline's. cross_validated: whether it has a model for each fold.
    """

    trial: int
    config: Config
    state: str
    metric: str
    better: Better
    curve: pd.DataFrame
    baseline_loss: float
    baseline_score: float
    best_score: float
    rows: int
    reason: str = ""
    seeds: Sequence[pd.DataFrame] = ()
    scores: Sequence[float] = ()
    rival: Rival | None = None
    leads: bool = False
    initial: Sequence[LayerFacts] | None = None
    trained: Sequence[LayerFacts] | None = None
    trained_epoch: int | None = None
    untrained_loss: float = math.nan
    learned_patience: Callable[[], Learned | None] = lambda: None
    classes: int | None = None
    output_bounds: OutputBounds | None = None
    unreachable: float = 0.0
    chance: Callable[[], float | None] = lambda: None
    cross_validated: bool = False

    # --- the curve --------------------------------------------------------------------------------------------------

    @cached_property
    def epoch(self) -> NDArray[np.int64]:
        """Numbers of the finished epochs; a branch's count on from its parent's."""
        return np.asarray(self.curve["epoch"], np.int64)

    @cached_property
    def train_loss(self) -> NDArray[np.float64]:
        return np.asarray(self.curve["train_loss"], float)

    @cached_property
    def val_loss(self) -> NDArray[np.float64]:
        return np.asarray(self.curve["val_loss"], float)

    @cached_property
    def rates(self) -> NDArray[np.float64]:
        return np.asarray(self.curve["learning_rate"], float)

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.train_loss).all() and np.isfinite(self.val_loss).all())

    @cached_property
    def tail(self) -> slice:
        """The last third of the epochs, at least 4."""
        return slice(max(0, len(self.epoch) - max(4, round(len(self.epoch) / 3))), None)

    @cached_property
    def unit(self) -> float:
        """The unit of losses: the baseline's loss, or that of the first epoch if the trial minimises another loss."""
        if math.isfinite(self.baseline_loss):
            return self.baseline_loss
        finite = self.train_loss[np.isfinite(self.train_loss)]
        return float(abs(finite[0])) if len(finite) and finite[0] else 1.0

    @property
    def gap(self) -> float:
        """Validation minus training loss after the last epoch, at the end of the curves; `gap_words` describes it."""
        return float(self.val_loss[-1] - self.train_loss[-1])

    @property
    def gap_words(self) -> str:
        return f"gap of {self.gap:.3g}"

    @property
    def level(self) -> float:
        """The training loss that a run begins at without being thrown there: the unit, or that of outputs of zero where it is
        much larger, as with rare classes (ln 2 of two, whose baseline knows that one is rare)."""
        return self.untrained_loss if self.untrained_loss > FAR_FROM_BASELINE * self.unit else self.unit

    # --- the score --------------------------------------------------------------------------------------------------

    @cached_property
    def best(self) -> int:
        """Place of the epoch that the monitor selects, whose weights are kept."""
        values = self.curve["monitored"].to_numpy(float) if "monitored" in self.curve else self.val_loss
        return int(np.argmin(np.where(np.isfinite(self.val_loss) & ~np.isnan(values), values, np.inf)))

    @property
    def score(self) -> float:
        """The validation metric at the best epoch: what the leaderboard compares."""
        return float(self.curve["val_metric"].iloc[self.best])

    @property
    def train_score(self) -> float:
        """The training metric, the median over the last epochs; NaN where it has no value in any of them."""
        values = self.curve["train_metric"].to_numpy(float)[self.tail]
        known = values[~np.isnan(values)]
        return float(np.median(known)) if len(known) else math.nan

    def error_of(self, score: float) -> float:
        """Standard error of a score on so many validation rows; NaN for a metric whose error is not known."""
        return standard_error(self.metric, score, self.rows)

    @property
    def noise(self) -> float:
        """Standard error of a score like the best known one."""
        return self.error_of(self.best_score)

    @property
    def _sign(self) -> float:
        return sign(self.better)

    def share(self, score: float) -> float:
        """How much of the way from the baseline to the best known score it has come: 0 at the baseline, 1 at the best.

        0 where even the best known is no better than the baseline beyond its noise; 1 where no baseline is known.
        """
        if not math.isfinite(self.baseline_score):
            return 1.0
        way = self._sign * (self.best_score - self.baseline_score)
        noise = self.noise if math.isfinite(self.noise) else 0.0
        return self._sign * (score - self.baseline_score) / way if way > 2 * noise else 0.0

    @property
    def at_baseline(self) -> bool:
        """Whether the score does not differ from the baseline's beyond noise."""
        return self._is_baseline(self.score)

    @property
    def best_is_baseline(self) -> bool:
        """Whether not even the best known score differs from the baseline's beyond noise."""
        return self._is_baseline(self.best_score)

    def _is_baseline(self, score: float) -> bool:
        if not math.isfinite(self.baseline_score):
            return False
        noise = self.error_of(self.baseline_score)
        return not self._sign * (score - self.baseline_score) > 2 * (noise if math.isfinite(noise) else 0.0)

    @cached_property
    def ranks(self) -> bool:
        """Whether the predictions rank the validation rows by their targets, whatever the score says."""
        chance = self.chance()
        return chance is not None and chance < RANKS

    @property
    def is_above_baseline(self) -> bool:
        """Whether the score is better than the baseline's at all; true where there is none to compare."""
        if not (math.isfinite(self.baseline_score) and len(self.epoch) and math.isfinite(self.score)):
            return True
        return self._sign * (self.score - self.baseline_score) > 0

    @property
    def behind(self) -> float:
        """How far the score lies behind the best known, in standard errors of such a score."""
        return self._sign * (self.best_score - self.score) / self.noise if self.noise > 0 else math.nan


How = Literal["branch", "new", "seeds", "code"]


@dataclass(frozen=True)
class Prescription:
    """A change to try. how: "branch" off after `epoch`, train "new", or "seeds": so many more of its configuration and of that
    of the trial `rival`. "code": a change to the model, the metric or the data, which no hyperparameter can make."""

    description: str
    how: How
    changes: Mapping[str, Any] = field(default_factory=dict)
    epoch: int | None = None
    seeds: int = 0
    rival: int | None = None

    @property
    def can_be_tried(self) -> bool:
        """Whether a trial can be started with it."""
        return self.how != "code"

    def code(self, trial: int) -> str:
        """The Python call that does it, "" if there is none."""
        if not self.can_be_tried:
            return ""
        values = ", ".join(f"{name}={value!r}" for name, value in self.changes.items())
        if self.how == "branch":
            return f"bench.branch({trial}, epoch={self.epoch}, {values})"
        if self.how == "new":
            return f"bench.start(bench.config({trial}).replace({values}))"
        return f"bench.add_seeds(top=2, seeds={self.seeds})"


@dataclass(frozen=True)
class Finding:
    """What one rule found. weight: 0 to 1, how near it is to the cause of what is wrong; the heaviest is the verdict.

    evidence: sentences with numbers. since: the epoch it began, None where that has no meaning. line: two points (epoch,
    validation loss) of a line to draw. on_layers: whether the evidence is in the layers rather than in the curves. record:
    how its prescription did in this log, "" before any was tried.
    """

    rule: str
    title: str
    evidence: tuple[str, ...]
    prescription: Prescription
    weight: float
    since: int | None = None
    line: tuple[tuple[float, float], tuple[float, float]] | None = None
    on_layers: bool = False
    record: str = ""


class RuleFindings:
    """The findings on a trial, heaviest first, and what could not be examined.

    verdict: the rule of the heaviest finding; without one "unscored" or "healthy". notes: what the rules could not examine, and
    why.
    """

    def __init__(self, case: Case, findings: Sequence[Finding], notes: Sequence[str] = ()) -> None:
        self.case, self.trial = case, case.trial
        self.findings = tuple(sorted(findings, key=lambda finding: -finding.weight))
        self.notes = tuple(notes)

    @property
    def verdict(self) -> str:
        return self.findings[0].rule if self.findings else UNSCORED if self._is_unscored else HEALTHY

    @property
    def title(self) -> str:
        """The verdict in words."""
        if self.findings:
            return self.findings[0].title
        if self._is_unscored:
            return f"cannot be judged: its validation {self.case.metric} is not defined (NaN) in any epoch"
        return "healthy: none of the rules finds anything"

    @property
    def _is_unscored(self) -> bool:
        return bool(self.case.curve["val_metric"].isna().all())

    def finding(self, rule: str | None = None) -> Finding | None:
        """The finding of a rule, by default the heaviest; None if there is none."""
        return next((one for one in self.findings if rule in (None, one.rule)), None)

    def __repr__(self) -> str:
        lines = [f"trial {self.trial}: {self.title}"]
        for number, one in enumerate(self.findings):
            lines += [f"also: {one.title}"] if number else []
            lines += [f"  - {sentence}" for sentence in one.evidence]
            given = one.prescription
            lines += [f"  {'try' if given.can_be_tried else 'to do'}: {given.description}"]
            lines += [f"       {given.code(self.trial)}"] if given.can_be_tried else []
            lines += [f"       ({one.record})"] if one.record else []
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        parts = [f"<b>Trial {self.trial}: {html.escape(self.title)}</b>"]
        for number, one in enumerate(self.findings):
            parts += [f"<br><b>also: {html.escape(one.title)}</b>"] if number else []
            parts.append(f"<ul>{''.join(f'<li>{html.escape(text)}</li>' for text in one.evidence)}</ul>")
            record = f" <i>({html.escape(one.record)})</i>" if one.record else ""
            given = one.prescription
            parts.append(f"{'Try' if given.can_be_tried else 'To do'}: {html.escape(given.description)}{record}")
            parts += [f"<pre>{html.escape(given.code(self.trial))}</pre>"] if given.can_be_tried else []
        parts += [f"<p><i>{html.escape(note)}</i></p>" for note in self.notes]
        return "".join(parts)
