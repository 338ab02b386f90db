"""The learning-rate range test: many rates and seeds as cohorts, parallel to the runs in the log and not recorded there."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from workbench.core.config import HYPERPARAMETERS, Config
from workbench.core.domains import IntRange, Range
from workbench.core.errors import ConfigError, Problem, RunError
from workbench.core.events import EpochEnd, Event, StepProgress, TrialEnded, TrialState
from workbench.core.registry import LOSSES
from workbench.core.text import in_sentence
from workbench.methods.range_test.figure import range_curve
from workbench.methods.range_test.suggestion import Suggestion, range_table, suggest
from workbench.runs.job import Job
from workbench.runs.session import Session
from workbench.tasks.split_rows import Rows
from workbench.training import Training, capacity, prepare
from workbench.training.cohort import Cohort
from workbench.training.devices import fitting_threads
from workbench.ui.figures import NotebookFigure

if TYPE_CHECKING:
    from workbench.tasks import Task
    from workbench.training.row import SplitData, TaskData

__all__ = ["RangeTest", "range_test"]

LOW, HIGH = 1e-5, 10.0
"""The rates that a test goes from and to, where nothing else is asked for."""
POINTS = IntRange(5, 512)
SEEDS = IntRange(1, 32)
STEPS = IntRange(1, 100_000)
VALIDATION_ROWS = 1000
"""Validation rows that are used, if there are more of them than training rows in use: fewer make the comparison noisy."""
MEASURED = frozenset({TrialState.COMPLETED, TrialState.DIVERGED})


class Excerpt:
    """A task with fewer rows: what training needs of a task, everything else as in the task."""

    def __init__(self, task: Task | TaskData, train: SplitData, validation: SplitData) -> None:
        self._task, self.train, self.validation, self.folds = task, train, validation, None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)


@dataclass(frozen=True)
class Plan:
    """What a range test trains. configs: by run number, seed after seed. steps: of each run."""

    task: TaskData
    configs: Mapping[int, Config]
    steps: int
    device: str


class RangeTest(Job[pd.DataFrame]):
    """A range test under way: `wait()`, `stop()`, `done`; can be awaited. Stopped early, it reports what it has measured.

    After it has ended: `suggestion`, the learning rate to train with (None if none helped), and `reason`; `table`, one row a
    rate; `steepest` and `largest_stable`, two other marks of the curve; `figure()`. `result` holds the runs, one row each.
    Raises, from all of these: RunError while it is running, or if it was stopped too early for a suggestion.
    """

    def __init__(self, session: Session, plan: Plan) -> None:
        super().__init__(lambda _: self._measure(), name="range test", pump=session.keep_live, news=session.publish)
        self.plan = plan
        self._training: Training | None = None
        self._untrained: dict[int, float] = {}
        self._suggestion: Suggestion | None = None

    def stop(self) -> None:
        super().stop()
        training = self._training
        if training is not None:
            training.commands.stop()

    # --- what came of it --------------------------------------------------------------------------------------------

    @property
    def table(self) -> pd.DataFrame:
        """One row a learning rate: loss, low, high (validation loss at the end of the runs: mean, smallest and largest over
        the seeds), train_loss (mean over the last epoch), diverged (share of the runs), seeds, smoothed (the mean loss smoothed
        over neighbouring rates, by which the suggestion is made; NaN where runs diverge)."""
        return range_table(self.result, self._untrained)

    @property
    def found(self) -> Suggestion:
        """All marks of the curve."""
        if self._suggestion is None:
            self._suggestion = suggest(self.result, self._untrained, steps=self.plan.steps)
        return self._suggestion

    @property
    def suggestion(self) -> float | None:
        """The learning rate to train with, None if no rate helped (see `reason`)."""
        return self.found.rate

    @property
    def reason(self) -> str:
        """Why this rate, with the numbers."""
        return self.found.reason

    @property
    def steepest(self) -> float | None:
        """The rate at which the loss falls fastest as the rate grows."""
        return self.found.steepest

    @property
    def largest_stable(self) -> float | None:
        """The largest rate up to which no run diverges, and half of what the best rate gains is kept."""
        return self.found.largest_stable

    def figure(self) -> NotebookFigure:
        """Validation loss against learning rate: mean and band over the seeds, valley, suggestion, what diverged shaded."""
        label = in_sentence(LOSSES[next(iter(self.plan.configs.values())).loss].label)
        start = float(np.mean(list(self._untrained.values())))
        return range_curve(self.table, self.found, untrained=start, loss_label=label, steps=self.plan.steps)

    def __repr__(self) -> str:
        if not self.done or self.error is not None:
            return super().__repr__()
        return f"<RangeTest{' (stopped)' if self.stopped else ''}: {self.reason}>"

    def _repr_html_(self) -> str:
        if not self.done or self.error is not None:
            return f"<p>{html.escape(repr(self))}</p>"
        picture = base64.b64encode(self.figure()._repr_png_()).decode()
        return f'<p>{html.escape(self.reason)}</p><img alt="range test" src="data:image/png;base64,{picture}">'

    # --- in its thread ----------------------------------------------------------------------------------------------

    def _measure(self) -> pd.DataFrame:
        plan, device = self.plan, torch.device(self.plan.device)
        rows = plan.task.train
        # a core of its own, so that a trial that trains meanwhile keeps the others
        with fitting_threads(device, 0.0):
            begun: dict[int, float] = {}
            for seed, config in {config.seed: config for config in plan.configs.values()}.items():
                self._untrained[seed] = Cohort(plan.task, {0: config}, device).evaluate()[0][0]
                begun[seed] = Cohort(Excerpt(plan.task, rows, rows), {0: config}, device).evaluate()[0][0]
            runs = _Runs(plan, begun)
            first = next(iter(plan.configs.values()))
            size = capacity(plan.task, first, device, len(plan.configs))
            waiting = list(plan.configs.items())
            for start in range(0, len(waiting), size):
                if self.stopped:
                    break
                self._train(dict(waiting[start : start + size]), runs)
        found = runs.frame()
        if self.stopped:
            found = self._whole_seeds(found)
            if found.empty:
                raise RunError(
                    "the range test was stopped before one seed was through all learning rates; start it again"
                )
        return found

    def _whole_seeds(self, points: pd.DataFrame) -> pd.DataFrame:
        """The seeds that were tried at all rates: means over different seeds cannot be compared."""
        rates = len({config.learning_rate for config in self.plan.configs.values()})
        return points[points["seed"].map(points["seed"].value_counts()) == rates]

    def _train(self, configs: dict[int, Config], runs: _Runs) -> None:
        training = self._training = Training(self.plan.task, configs, device=self.plan.device)
        if self.stopped:  # asked for in between
            training.commands.stop()
        for moment in training.moments():
            for event in moment:
                runs.handle(event)
            self.progress = runs.share
        self._training = None


class _Runs:
    """What is known of the runs of a test."""

    def __init__(self, plan: Plan, begun: Mapping[int, float]) -> None:
        """begun: the untrained model's loss on the training rows, by seed."""
        self._plan, self._begun = plan, begun
        self._steps: dict[int, int] = {}
        self._last: dict[int, EpochEnd] = {}
        self._peak: dict[int, float] = {}
        self._ended: dict[int, TrialState] = {}

    def handle(self, event: Event) -> None:
        if isinstance(event, EpochEnd):
            self._last[event.trial] = event
            self._peak[event.trial] = max(self._peak.get(event.trial, -math.inf), event.train_loss)
        elif isinstance(event, TrialEnded):
            self._ended[event.trial] = event.state
        if isinstance(event, (StepProgress, EpochEnd)):
            self._steps[event.trial] = event.step
        elif isinstance(event, TrialEnded):
            self._steps[event.trial] = self._plan.steps

    @property
    def share(self) -> float:
        """How much of the test is done."""
        return sum(self._steps.values()) / (self._plan.steps * len(self._plan.configs))

    def frame(self) -> pd.DataFrame:
        """One row a run that was measured, as `range_table` wants it."""
        rows = []
        for run, config in self._plan.configs.items():
            if self._ended.get(run) not in MEASURED:
                continue
            losses = [math.inf] * 3
            if self._ended[run] is TrialState.COMPLETED:
                last = self._last[run]
                losses = [last.train_loss, last.val_loss, self._peak[run]]
            rows.append((config.learning_rate, config.seed, *losses, self._begun[config.seed]))
        columns = ["learning_rate", "seed", "train_loss", "val_loss", "peak_loss", "start_loss"]
        return pd.DataFrame(rows, columns=columns)


# --------------------------------------------------------------------------------------------------------------------


def range_test(
    session: Session,
    config: Config,
    *,
    low: float,
    high: float,
    points: int,
    seeds: int,
    steps: int,
    device: str,
) -> RangeTest:
    """Start a range test in a thread of its own. Raises: ConfigError naming what is wrong; ModelError."""
    rates, seeds, steps = _checked(low, high, points=points, seeds=seeds, steps=steps)
    plan = plan_of(session.task, prepare(session.task, config), rates, seeds, steps, device)
    return RangeTest(session, plan).start()


def plan_of(task: Task, config: Config, rates: Sequence[float], seeds: int, steps: int, device: str = "cpu") -> Plan:
    """The runs of a test: at a constant rate, without warm-up and early stopping, all else as in `config`.

    Whole epochs, as many as come closest to `steps`, but not more than the config has; where one epoch is longer, it is made
    shorter by taking some of the training rows, drawn at random.
    """
    batch, rows = config.batch_size, len(task.train)
    an_epoch = math.ceil(rows / batch)
    used, epochs = rows, max(1, min(config.epochs, round(steps / an_epoch)))
    if an_epoch > steps:
        used, epochs = steps * batch, 1
    looked_at = min(len(task.validation), max(VALIDATION_ROWS, used))
    excerpt = Excerpt(task, _some(task.train, used, config.seed), _some(task.validation, looked_at, config.seed))
    fixed = {"schedule": "constant", "warmup": 0, "patience": None, "epochs": epochs}
    configs = [
        config.replace(**fixed, learning_rate=float(rate), seed=config.seed + index)
        for index in range(seeds)
        for rate in rates
    ]
    return Plan(excerpt, dict(enumerate(configs)), epochs * math.ceil(used / batch), device)


def _some(split: Rows, rows: int, seed: int) -> Rows:
    """So many rows of a split, drawn at random; all of them as they are."""
    if rows >= len(split):
        return split
    chosen = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:rows]
    return split.part(chosen)


def _checked(low: float, high: float, **counts: int) -> tuple[list[float], int, int]:
    """The rates, the number of seeds and that of steps. Raises: ConfigError with all that is wrong."""
    problems: list[Problem] = []
    rate = HYPERPARAMETERS["learning_rate"]
    assert isinstance(rate.domain, Range)
    for name, value, default in (("low", low, LOW), ("high", high, HIGH)):
        try:
            replace(rate, default=default).check(value, name)
        except ConfigError as error:
            problems.extend(error.problems)
    if not problems and not low < high:
        problems.append(Problem("high", high, f"high={high!r}: must be larger than low={low!r}; swap them"))
    whole: list[int] = []
    for (name, value), domain in zip(counts.items(), (POINTS, SEEDS, STEPS), strict=True):
        try:
            whole.append(domain.check(value, name))
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(problems)
    points, seeds, steps = whole
    rates = [float(rate) for rate in np.geomspace(low, high, points)]
    if len(set(rates)) < points:
        message = f"high={high!r}: so near to low={low!r} that no {points} different rates lie between; raise it"
        raise ConfigError([Problem("high", high, message)])
    return rates, seeds, steps
