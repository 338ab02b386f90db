"""How much of the score's variation each hyperparameter explains, by optuna's evaluators."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.core.config import HYPERPARAMETERS
from workbench.core.direction import Better, objective
from workbench.core.domains import Choice, IntRange, Range
from workbench.core.errors import ConfigError, Problem, RunError, did_you_mean
from workbench.core.text import counted

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["EVALUATORS", "importance", "varied"]

EVALUATORS = {"fanova": "FanovaImportanceEvaluator", "ped_anova": "PedAnovaImportanceEvaluator"}
TRIALS_EACH = 10
"""Below this many trials for each hyperparameter, shares of importance are mostly noise."""


def importance(
    frame: pd.DataFrame,
    *,
    better: Better = "higher",
    evaluator: str = "fanova",
    names: list[str] | None = None,
) -> pd.DataFrame:
    """Share of the variation of the validation metric that each hyperparameter explains, largest first.

    frame: trials as `bench.trials` gives them; those without a finite best_val_metric are left out. evaluator: "fanova" (Hutter
    et al. 2014: over the whole space) or "ped_anova" (Watanabe et al. 2023: for getting among the best). names: the
    hyperparameters; by default all that vary and that every trial reads (the momentum of Adam is no value of anything). Of those
    that are named, the trials that read all of them count. Returns the columns hyperparameter, importance (they
    add up to 1), trials (the number it rests on) and enough (whether that is 10 for each hyperparameter; a UserWarning says so
    too). Raises: RunError with fewer than 4 trials, nothing that varies or equal scores; ConfigError for an unknown evaluator
    or name.
    """
    import optuna

    if evaluator not in EVALUATORS:
        message = f"evaluator={evaluator!r}: unknown{did_you_mean(evaluator, EVALUATORS)}"
        raise ConfigError([Problem("evaluator", evaluator, message)])
    frame = frame[np.isfinite(frame["best_val_metric"].astype(float))]
    names = varied(frame) if names is None else names
    for name in names:
        if name not in frame:
            raise ConfigError([Problem("names", name, f"unknown hyperparameter {name!r}{did_you_mean(name, frame)}")])
    frame = frame[frame[names].notna().all(axis=1)]
    if len(frame) < 4 or not names:
        raise RunError(
            f"importance needs at least 4 ended trials that differ in a hyperparameter, there are {len(frame)}; "
            "run a search first"
        )
    if frame["best_val_metric"].nunique() == 1:
        score = frame["best_val_metric"].iloc[0]
        raise RunError(
            f"all {len(frame)} trials have the score {score:.4g}: there is no variation to explain; run more epochs"
        )
    tuples = {name: frame[name].map(repr) for name in names if frame[name].map(type).eq(tuple).any()}
    frame = frame.assign(**tuples)  # optuna takes no tuples
    distributions = {name: _observed(frame[name], name) for name in names}
    loud = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(loud, optuna.logging.WARNING))  # it reports each new study
    try:
        study = optuna.create_study(direction=objective(better))
    finally:
        optuna.logging.set_verbosity(loud)
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={
                    name: value.item() if hasattr(value, "item") else value
                    for name, value in zip(names, row, strict=True)
                },
                distributions=distributions,
                value=float(score),
            )
            for *row, score in frame[[*names, "best_val_metric"]].itertuples(index=False)
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna's warnings about its experimental parts
        made = getattr(optuna.importance, EVALUATORS[evaluator])(**({"seed": 0} if evaluator == "fanova" else {}))
        found = optuna.importance.get_param_importances(study, evaluator=made)
    enough = len(frame) >= TRIALS_EACH * len(names)
    if not enough:
        warnings.warn(
            f"importance of {len(names)} hyperparameters rests on {counted(len(frame), 'trial')}; treat it as a hint only, "
            f"and run at least {TRIALS_EACH * len(names)}",
            stacklevel=2,
        )
    return pd.DataFrame(
        {
            "hyperparameter": list(found),
            "importance": list(found.values()),
            "trials": len(frame),
            "enough": enough,
        }
    )


def varied(frame: pd.DataFrame, *, conditional: bool = False) -> list[str]:
    """The hyperparameters, but for the seed, that take several values in the trials.

    conditional: those too that some of the trials do not read, or have switched off.
    """
    names = list(frame.columns[5 : frame.columns.get_loc("epochs_run")]) if len(frame) else []
    several = [name for name in names if name != "seed" and frame[name].nunique() > 1]
    return several if conditional else [name for name in several if frame[name].notna().all()]


def _observed(values: pd.Series[Any], name: str) -> BaseDistribution:
    """The distribution that spans what was tried."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    declaration = HYPERPARAMETERS.get(name)
    domain = declaration.domain if declaration is not None else None
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if not numeric or isinstance(domain, Choice):
        return CategoricalDistribution(list(dict.fromkeys(values)))
    low, high = values.min(), values.max()
    log = isinstance(domain, (Range, IntRange)) and domain.scale != "linear" and low > 0
    if pd.api.types.is_integer_dtype(values):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)
