"""How the next configurations are chosen, and which trials are given up early: tables over optuna's samplers and pruners."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.core.errors import ConfigError, Problem, did_you_mean

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

__all__ = ["PRUNERS", "STRATEGIES", "Pruning", "Strategy", "pruning", "strategy"]


@dataclass(frozen=True)
class Strategy:
    """One way to search.

    sampler: an optuna sampler from a seed, None for the grid. learns: whether results change what is asked for next; then
    trials are asked for in small batches, so that there is something to learn from. startup: after so many trials the sampler
    draws all hyperparameters together; one that it then draws by itself, because it cannot model it, is logged. None: it always
    draws each by itself.
    """

    name: str
    label: str
    meaning: str
    sampler: Callable[[int], BaseSampler] | None
    learns: bool = False
    startup: int | None = None


@dataclass(frozen=True)
class Pruning:
    """One rule to give trials up by. make: an optuna pruner for trials of so many epochs."""

    name: str
    label: str
    meaning: str
    make: Callable[[int], BasePruner]


def _samplers() -> Any:
    import optuna

    return optuna.samplers


def _pruners() -> Any:
    import optuna

    return optuna.pruners


def _random(seed: int) -> BaseSampler:
    sampler: BaseSampler = _samplers().RandomSampler(seed=seed)
    return sampler


def _sobol(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna calls it experimental
        sampler: BaseSampler = _samplers().QMCSampler(
            qmc_type="sobol", scramble=True, seed=seed, warn_independent_sampling=False, warn_asynchronous_seeding=False
        )
    return sampler


def _tpe(seed: int) -> BaseSampler:
    sampler: BaseSampler = _samplers().TPESampler(seed=seed, constant_liar=True)
    return sampler


def _gp(seed: int) -> BaseSampler:
    sampler: BaseSampler = _samplers().GPSampler(seed=seed, warn_independent_sampling=False)
    return sampler


def _cmaes(seed: int) -> BaseSampler:
    sampler: BaseSampler = _samplers().CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return sampler


STRATEGIES = {
    entry.name: entry
    for entry in (
        Strategy("grid", "Grid", "Every combination, in order.", None),
        Strategy(
            "random", "Random", "Independent draws; hard to beat with few trials (Bergstra & Bengio 2012).", _random
        ),
        Strategy("sobol", "Sobol", "Scrambled Sobol sequence: draws that leave no large gaps.", _sobol, startup=1),
        Strategy("tpe", "TPE", "Tree-structured Parzen estimator (Bergstra et al. 2011).", _tpe, learns=True),
        Strategy(
            "gp", "Gaussian process", "Bayesian optimisation with a Gaussian process.", _gp, learns=True, startup=10
        ),
        Strategy(
            "cmaes",
            "CMA-ES",
            "Evolution of a normal distribution, for numbers (Hansen 2016).",
            _cmaes,
            learns=True,
            startup=1,
        ),
    )
}
"""Every strategy by name, in the order of the menu."""

PRUNERS = {
    entry.name: entry
    for entry in (
        Pruning(
            "median",
            "Median",
            "Ends a trial that is worse than the median of completed trials at the same epoch.",
            lambda epochs: _pruners().MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 10)),
        ),
        Pruning(
            "halving",
            "Successive halving",
            "At epochs 1, 3, 9 ... only the best third of the trials continues (ASHA, Li et al. 2020).",
            lambda epochs: _pruners().SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        ),
        Pruning(
            "hyperband",
            "Hyperband",
            "Successive halving with several starting points (Li et al. 2018).",
            lambda epochs: _pruners().HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3),
        ),
        Pruning(
            "patience",
            "Patience",
            "Ends a trial whose metric has not improved for a fifth of its epochs (at least 3).",
            lambda epochs: _patient(max(3, epochs // 5)),
        ),
    )
}
"""Every pruner by name, in the order of the menu."""


def _patient(epochs: int) -> BasePruner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna calls it experimental
        pruner: BasePruner = _pruners().PatientPruner(None, patience=epochs)
    return pruner


def strategy(name: str | BaseSampler) -> Strategy:
    """A strategy by name, or around an optuna sampler of one's own. Raises: ConfigError with a hint."""
    if isinstance(name, str):
        if name in STRATEGIES:
            return STRATEGIES[name]
    else:
        from optuna.samplers import BaseSampler

        if isinstance(name, BaseSampler):
            own = type(name).__name__
            return Strategy(own, own, "An optuna sampler.", lambda _seed: name, learns=True)
    message = f"strategy={name!r}: unknown{did_you_mean(str(name), STRATEGIES)}"
    raise ConfigError([Problem("strategy", name, message)])


def pruning(name: str | BasePruner | None) -> Pruning | None:
    """A pruner by name, or an optuna pruner of one's own; None for none. Raises: ConfigError with a hint."""
    if name is None or (isinstance(name, str) and name == "none"):
        return None
    if isinstance(name, str):
        if name in PRUNERS:
            return PRUNERS[name]
    else:
        from optuna.pruners import BasePruner

        if isinstance(name, BasePruner):
            return Pruning(type(name).__name__, type(name).__name__, "An optuna pruner.", lambda _epochs: name)
    message = f"pruner={name!r}: unknown{did_you_mean(str(name), PRUNERS)}"
    raise ConfigError([Problem("pruner", name, message)])
