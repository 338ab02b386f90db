"""One stream of configurations: an optuna study by ask and tell, or a grid."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from workbench.core.config import Config
from workbench.core.direction import Better, is_better, objective
from workbench.core.errors import ConfigError, RunError
from workbench.core.space import GRID_POINTS, Space, distribution
from workbench.methods.search.strategies import Pruning, Strategy

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial

__all__ = ["Arm", "Result", "Suggestion"]

REJECTIONS = 1000
"""After so many contradictory draws in a row the search of the space ends."""


@dataclass
class Result:
    """An earlier trial that a strategy learns from: configuration and validation metric (NaN if it diverged or failed)."""

    config: Config
    value: float


@dataclass(eq=False)
class Suggestion:
    """One configuration to try, with as many seeds as asked for, and its results so far.

    number: its place in the search, from 0. trials: the log's numbers of its seeds, once they train.
    """

    number: int
    arm: Arm
    configs: list[Config]
    trial: Trial | None = None
    trials: list[int] = field(default_factory=list)
    values: dict[int, float] = field(default_factory=dict)  # validation metric of the ended seeds
    reported: dict[int, dict[int, float]] = field(default_factory=dict)  # epoch -> trial -> validation metric
    pruned: bool = False
    stopped: bool = False
    final: bool = False  # a replicate of an arm's best configuration, which no strategy learns from

    @property
    def ended(self) -> bool:
        return bool(self.trials) and len(self.values) == len(self.trials)

    @property
    def value(self) -> float:
        """Mean validation metric of the seeds, NaN if one of them diverged or failed."""
        return float(np.mean(list(self.values.values())))


class Arm:
    """Configurations from one space by one strategy.

    done: how many suggestions of this search are in the log already; the arm continues after them. Draws that do not learn
    continue exactly where they stopped; a strategy that learns takes a new seed derived from `seed` and `done`.
    """

    def __init__(
        self,
        space: Space,
        strategy: Strategy,
        *,
        better: Better,
        seed: int = 0,
        pruner: Pruning | None = None,
        points: int = GRID_POINTS,
        done: int = 0,
    ) -> None:
        import optuna

        self.space, self.strategy = space, strategy
        self._better = better
        self._pruned = pruner is not None
        self.best: Suggestion | None = None
        self._grid = space.grid(points)[done:] if strategy.sampler is None else None
        sampler = None
        if strategy.sampler is not None:
            own_seed = seed
            if strategy.learns and done:
                own_seed = int(np.random.SeedSequence([seed, done]).generate_state(1)[0])
            sampler = strategy.sampler(own_seed)
        loud = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(max(loud, optuna.logging.WARNING))
        try:
            self.study: Study = optuna.create_study(
                study_name="workbench",  # Hyperband's brackets depend on it
                sampler=sampler or optuna.samplers.RandomSampler(seed=seed),
                pruner=optuna.pruners.NopPruner() if pruner is None else pruner.make(space.base.epochs),
                direction=objective(better),
            )
        finally:
            optuna.logging.set_verbosity(loud)
        self.learned = 0
        if strategy.sampler is not None and not strategy.learns:
            for _ in range(done):
                self._draw()

    @property
    def planned(self) -> int | None:
        """How many configurations are left, None if there is no end."""
        return None if self._grid is None else len(self._grid)

    def learn(self, results: Iterable[Result]) -> None:
        """Add to what the sampler knows the earlier trials that lie in the space and agree in what is not searched."""
        import optuna

        if not self.strategy.learns:
            return
        states = optuna.trial.TrialState
        for result in results:
            parameters = self.space.parameters(result.config)
            if parameters is None:
                continue
            known = math.isfinite(result.value)
            self.study.add_trial(
                optuna.trial.create_trial(
                    params=parameters,
                    distributions={name: distribution(self.space[name]) for name in parameters},
                    value=result.value if known else None,
                    # a trial pruned before its first report counts as worse than all others
                    state=states.COMPLETE if known else states.PRUNED,
                )
            )
            self.learned += 1

    def ask(self, number: int, seeds: int) -> Suggestion | None:
        """The next configuration; None when there is none left."""
        if self._grid is not None:
            if not self._grid:
                return None
            config, trial = self._grid.pop(0), self.study.ask() if self._pruned else None
        else:
            config, trial = self._draw()
        configs = [config.replace(seed=config.seed + i) for i in range(seeds)] if seeds > 1 else [config]
        return Suggestion(number, self, configs, trial)

    def _draw(self) -> tuple[Config, Trial]:
        from optuna.trial import TrialState as State

        rejected = None
        for _ in range(REJECTIONS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # optuna's warnings about its experimental parts
                trial = self.study.ask()
                try:
                    config = self.space.draw(trial)
                except ConfigError as error:
                    rejected = error
                    self.study.tell(trial, state=State.FAIL)
                    continue
            return config, trial
        raise RunError(
            f"{REJECTIONS} draws in a row from the space are invalid; narrow the space. The last one: {rejected}"
        )

    def tell(self, suggestion: Suggestion) -> None:
        """Report the result of a suggestion to the strategy, after all its seeds have ended."""
        from optuna.trial import TrialState as State

        value = suggestion.value
        if (
            math.isfinite(value)
            and not suggestion.pruned
            and (self.best is None or is_better(value, self.best.value, self._better))
        ):
            self.best = suggestion
        if suggestion.trial is None:
            return
        if math.isfinite(value) and not suggestion.pruned:
            self.study.tell(suggestion.trial, value)
        else:
            self.study.tell(suggestion.trial, state=State.PRUNED)

    def prune(self, suggestion: Suggestion, epoch: int, value: float) -> bool:
        """Report a suggestion's metric at an epoch; whether to prune it."""
        if suggestion.trial is None or not self._pruned or not math.isfinite(value):
            return False
        suggestion.trial.report(value, epoch)
        return bool(suggestion.trial.should_prune())
