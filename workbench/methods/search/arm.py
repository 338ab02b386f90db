"""One stream of configurations: an optuna study by ask and tell, or a grid."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from workbench.core.config import Config
from workbench.core.direction import Better, is_better, objective
from workbench.core.errors import ConfigError, RunError
from workbench.core.space import GRID_POINTS, Space
from workbench.methods.search.strategies import Pruning, Strategy

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

__all__ = ["REJECTIONS", "Arm", "Result", "Suggestion"]

REJECTIONS = 1000
"""After so many draws in a row that contradict themselves or the constraint, the search of the space ends."""
AGAIN = 100
"""After so many draws of configurations that were drawn before, one of those that are left is taken."""
LEARNED_REJECTIONS = 50
"""After so many of a strategy that learns, which may propose the same again and again, they are drawn at random."""
FINITE = 2000
"""A space of at most so many configurations is searched without repeating one by strategies that do not learn."""


@dataclass
class Result:
    """An earlier trial that a strategy learns from: configuration and validation metric (NaN if it diverged or failed)."""

    config: Config
    value: float


@dataclass(eq=False)
class Suggestion:
    """One configuration to try, with as many seeds as asked for, and its results so far.

    number: its place in the search, from 0. note: for the log, about how it was found. trials: the log's numbers of its seeds,
    once they train.
    """

    number: int
    arm: Arm
    configs: list[Config]
    trial: Trial | None = None
    note: str = ""
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

    done: how many suggestions were drawn from this space in the same way before; the arm continues after them. Draws that do
    not learn continue exactly where they stopped; a strategy that learns takes a new seed derived from `seed` and `done`.
    tried: configurations that were trained before. limit: how many configurations it gives at most.

    No trial is asked for twice. The grid, and a strategy that does not learn on a space of at most `FINITE` configurations,
    leave out what was tried, and end when all was. Any other configuration that is drawn again gets new seeds.
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
        tried: Iterable[Config] = (),
        limit: int | None = None,
    ) -> None:
        import optuna

        self.space, self.strategy = space, strategy
        self._better, self._limit = better, limit
        self._pruned = pruner is not None
        self.best: Suggestion | None = None
        self._used: dict[str, set[int]] = {}
        """Seeds by configuration."""
        self._notes: list[str] = []
        self._noted: set[str] = set()
        self._generator = np.random.default_rng([seed, done if strategy.learns else 0])
        sampler = None
        if strategy.sampler is not None:
            own_seed = seed
            if strategy.learns and done:
                own_seed = int(np.random.SeedSequence([seed, done]).generate_state(1)[0])
            sampler = strategy.sampler(own_seed)
            if strategy.startup is not None:
                self._watch(sampler, strategy.startup)
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
        listed = space.grid(points) if strategy.sampler is None else None
        if not strategy.learns and listed is None:
            listed = space.configurations(FINITE)
        self._left = None if listed is None else {_key(config): config for config in listed}
        """What is left of a space that has an end."""
        self.size = None if listed is None else len(listed)
        """How many configurations the space has, None if it has no end."""
        self._in_order = strategy.sampler is None
        if not strategy.learns:
            for _ in range(done):
                self._next()
        for config in tried:
            self._use(config)

    @property
    def planned(self) -> int | None:
        """How many configurations are left, None if there is no end."""
        if self._left is None:
            return self._limit
        return len(self._left) if self._limit is None else min(self._limit, len(self._left))

    @property
    def exhausted(self) -> bool:
        """Whether every configuration of its space was asked for."""
        return self._left is not None and not self._left

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
                    distributions=self.space.distributions(result.config),
                    value=result.value if known else None,
                    # a trial pruned before its first report counts as worse than all others
                    state=states.COMPLETE if known else states.PRUNED,
                )
            )
            self._use(result.config)
            self.learned += 1

    def ask(self, number: int, seeds: int) -> Suggestion | None:
        """The next configuration; None when there is none left."""
        if self._limit == 0:
            return None
        found = self._next()
        if found is None:
            return None
        config, trial = found
        self._limit = None if self._limit is None else self._limit - 1
        used = self._used.get(config.configuration, set())
        if not used.isdisjoint(range(config.seed, config.seed + seeds)) and "seed" not in self.space:
            config = config.replace(seed=self.fresh_seed(config))
            self._note(
                "again",
                "this configuration was tried before; it is trained with another seed, and so are all others that are drawn "
                "again in this search",
            )
        configs = [config.replace(seed=config.seed + i) for i in range(seeds)] if seeds > 1 else [config]
        for one in configs:
            self._use(one)
        if self.exhausted and not self._in_order:
            self._note("all", f"the last of the {self.size} configurations in the space: the search ends with it")
        notes, self._notes = self._notes, []
        return Suggestion(number, self, configs, trial, "; ".join(notes))

    def fresh_seed(self, config: Config) -> int:
        """The first seed above all that a configuration was asked for with."""
        return max(self._used.get(config.configuration, {config.seed - 1})) + 1

    def _use(self, config: Config) -> None:
        self._used.setdefault(config.configuration, set()).add(config.seed)
        if self._left is not None:
            self._left.pop(_key(config), None)

    def _note(self, kind: str, text: str) -> None:
        """Have something logged with the next suggestion, once for each kind."""
        if kind not in self._noted:
            self._noted.add(kind)
            self._notes.append(text)

    def _next(self) -> tuple[Config, Trial | None] | None:
        """The next configuration, and its optuna trial, if it needs one."""
        if self._left is None:
            return self._draw()
        if not self._left:
            return None
        if self._in_order:
            return self._left.pop(next(iter(self._left))), self._unlearned()
        for config, trial in self._draws(AGAIN):
            if self._left.pop(_key(config), None) is not None:
                return config, trial
            self._discard(trial)
        # what is left is rare among the draws
        key = list(self._left)[int(self._generator.integers(len(self._left)))]
        return self._left.pop(key), self._unlearned()

    def _unlearned(self) -> Trial | None:
        """An optuna trial for a configuration that no sampler has drawn: a pruner needs one."""
        return self.study.ask() if self._pruned else None

    def _discard(self, trial: Trial) -> None:
        from optuna.trial import TrialState as State

        self.study.tell(trial, state=State.FAIL)

    def _draw(self) -> tuple[Config, Trial]:
        most = LEARNED_REJECTIONS if self.strategy.learns else REJECTIONS
        for config, trial in self._draws(most):
            return config, trial
        if self.strategy.learns:
            self._note(
                "random", f"{most} proposals in a row of {self.strategy.label} were invalid: drawn at random instead"
            )
            for _ in range(REJECTIONS):
                try:
                    parameters = self.space.parameters(self.space.sample(self._generator))
                except ConfigError as error:
                    self._rejected = error
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self.study.enqueue_trial(parameters or {})
                trial = self.study.ask()
                return self.space.draw(trial), trial
        raise RunError(
            f"{REJECTIONS} draws in a row from the space are invalid; narrow the space. The last one: {self._rejected}"
        )

    def _draws(self, count: int) -> Iterator[tuple[Config, Trial]]:
        """The valid ones among some proposals of the sampler."""
        for _ in range(count):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # optuna's warnings about its experimental parts
                trial = self.study.ask()
                try:
                    config = self.space.draw(trial)
                except ConfigError as error:
                    self._rejected = error
                    self._discard(trial)
                    continue
            yield config, trial

    _rejected: ConfigError | None = None

    def _watch(self, sampler: BaseSampler, startup: int) -> None:
        """Have it noted when a sampler draws a hyperparameter independently of its model, after its first trials."""
        from optuna.distributions import BaseDistribution
        from optuna.trial import FrozenTrial
        from optuna.trial import TrialState as State

        independent = sampler.sample_independent

        # QMC takes the parameters of the first trial, the others learn from those that have a result
        states = (State.COMPLETE,) if self.strategy.learns else (State.COMPLETE, State.PRUNED, State.RUNNING)

        def noticed(study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> object:
            if not distribution.single() and name not in self._noted:
                others = [one for one in study.get_trials(deepcopy=False, states=states) if one.number != trial.number]
                if len(others) >= startup:
                    self._note(
                        name, f"{self.strategy.label} does not model {name} in this space: it is drawn at random"
                    )
            return independent(study, trial, name, distribution)

        setattr(sampler, "sample_independent", noticed)  # noqa: B010  (a method of an instance)

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


def _key(config: Config) -> str:
    """What a trial depends on: its configuration and its seed."""
    return f"{config.configuration} {config.seed}"
