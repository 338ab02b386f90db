"""From the arguments of `bench.search` and `bench.compare` to a campaign on the runner."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from workbench.analysis import leaderboard
from workbench.errors import ConfigError, LogError, Problem
from workbench.events import TrialState
from workbench.execution import Search
from workbench.figures import NotebookFigure, intervals
from workbench.hyperparameters import CHOICES, Config
from workbench.registry import Registry
from workbench.search import Arm, Budget, Campaign, NewRow, Result, Space, pruning, strategy
from workbench.session import Session
from workbench.training import Training, check, prepare

if TYPE_CHECKING:
    from collections.abc import Iterable

S = TypeVar("S", bound=Search)

__all__ = ["TRIALS", "Comparison", "SearchRequest", "start_comparison", "start_search"]

TRIALS = 64
"""Settings a search tries when no budget is given."""


class Comparison(Search):
    """A fair comparison under way: a search for each value, then fresh seeds of the best setting of each."""

    session: Session
    field: str
    nuisance: tuple[str, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row a value, best first, from the fresh seeds alone.

        Columns: the compared field, mean, low and high (95% confidence interval), seeds, p_value and tied (Welch's t-test
        against the best, as in `bench.leaderboard`), tuned_score (the best of the tuning, which is too good: it was picked),
        settings (budget of the tuning), epochs (all that the value's trials trained for), trial, and the tuned values.
        """
        frame = self.session.reads.trials_of(self.number)
        configs = self.session.log.configs([int(trial) for trial in frame["trial"]])
        frame = frame.assign(value=[str(configs[int(trial)][self.field]) for trial in frame["trial"]])
        finals = frame[frame["source"] == "replicate"]
        scores = pd.DataFrame(
            {"trial": finals["trial"], "setting": finals["value"], "score": finals["best_val_metric"]}
        )
        board = leaderboard(scores, better=self.session.reads.better)
        rows = []
        for row in board.itertuples(index=False):
            tuning = frame[(frame["value"] == row.setting) & (frame["source"] != "replicate")]
            first = finals[finals["value"] == row.setting].iloc[0]
            tuned = {name: configs[int(first["trial"])][name] for name in self.nuisance}
            parent = frame[frame["trial"] == first["parent"]].iloc[0]
            rows.append(
                {
                    self.field: row.setting, "mean": row.mean, "low": row.low, "high": row.high, "seeds": row.seeds,
                    "p_value": row.p_value, "tied": row.tied, "tuned_score": parent["best_val_metric"],
                    "settings": len(tuning), "epochs": int(frame.loc[frame["value"] == row.setting, "epochs_run"].sum()),
                    "trial": int(parent["trial"]), **tuned,
                }
            )  # fmt: skip
        return pd.DataFrame(rows)

    def figure(self) -> NotebookFigure:
        """The table as a figure: mean and interval of each value."""
        return intervals(self.table, label=self.field, metric_label=self.session.reads.metric_label)


@dataclass(frozen=True)
class SearchRequest:
    """What `bench.search` was asked for; see there."""

    strategy: Any
    space: Mapping[str, Any]
    base: Config
    trials: int | None = None
    seconds: float | None = None
    no_improvement: int | None = None
    pruner: Any = None
    seeds: int = 1
    seed: int = 0
    points: int = 5
    cohort: int | None = None
    continues: int | None = None
    name: str = ""
    note: str = ""
    tags: tuple[str, ...] = ()
    device: str = "cpu"

    def checked(self, session: Session) -> SearchRequest:
        """The same, each value checked. Raises: ConfigError naming the argument."""
        problems = []
        for field, low in (("trials", 1), ("no_improvement", 1), ("seeds", 1), ("cohort", 1), ("seed", 0)):
            value = getattr(self, field)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < low):
                problems.append(Problem(field, value, f"{field}={value!r}: must be a whole number from {low}"))
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            problems.append(Problem("seconds", self.seconds, f"seconds={self.seconds!r}: must be above 0"))
        if problems:
            raise ConfigError(problems)
        return replace(self, base=prepare(session.task, self.base))

    @property
    def budget(self) -> Budget:
        unlimited = self.trials is None and self.seconds is None and self.no_improvement is None
        count = TRIALS if unlimited and strategy(self.strategy).sampler is not None else self.trials
        return Budget(count, self.seconds, self.no_improvement)

    def settings(self, space: Space | None) -> dict[str, Any]:
        """What the log keeps, so that the search can be told, repeated and continued."""
        own_pruner = pruning(self.pruner)
        return {
            "space": None if space is None else json.loads(space.to_json()),
            "base": self.base.model_dump(),
            "budget_trials": self.budget.trials,
            "budget_seconds": self.seconds,
            "no_improvement": self.no_improvement,
            "pruner": None if own_pruner is None else own_pruner.name,
            "seeds": self.seeds,
            "seed": self.seed,
            "points": self.points,
        }


def continued(session: Session, number: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an earlier search, with those that are given anew. Raises: LogError for an unknown number."""
    frame = session.log.searches()
    rows = frame[frame["search"] == number]
    if rows.empty:
        raise LogError(f"search {number} is not in the log; see bench.searches")
    row = rows.iloc[0]
    if row["task_fingerprint"] != session.task.fingerprint:
        raise LogError(f"search {number} was made on other data than {session.task.name!r}; start a new one")
    if row["space"] is None:
        raise LogError(f"search {number} is a comparison, which cannot be continued; start a new one")
    base = given.get("base") or Config(**row["base"])
    space = given.get("space") or dict(Space.from_json(json.dumps(row["space"]), base))
    kept = {name: row[name] for name in ("strategy", "pruner", "seeds", "seed", "points")}
    kept = {name: int(v) if name in ("seeds", "seed", "points") else v for name, v in kept.items()}
    kept["pruner"] = kept["pruner"] if isinstance(kept["pruner"], str) else None
    return {**kept, **given, "base": base, "space": space, "continues": number}


def start_search(session: Session, request: SearchRequest) -> Search:
    """Put a search on the runner. Raises: ConfigError naming what is wrong; nothing is logged then."""
    request = request.checked(session)
    way, pruner = strategy(request.strategy), pruning(request.pruner)
    space = Space(request.space, request.base)
    done = 0 if request.continues is None else session.log.suggestions(request.continues)
    arm = Arm(
        space, way, better=session.reads.better, seed=request.seed, pruner=pruner, points=request.points, done=done
    )
    if way.learns:
        arm.teach(_results(session))
    settings = request.settings(space)
    return _submit(session, request, way.name, [arm], settings, first_number=done)


def start_comparison(
    session: Session, request: SearchRequest, field: str, values: Sequence[Any] | None, finals: int
) -> Comparison:
    """Tune the nuisance hyperparameters anew for each value of `field`, then replicate the best setting of each."""
    request = request.checked(session)
    way, pruner = strategy(request.strategy), pruning(request.pruner)
    options: Any = Space({field: list(values) if values is not None else _values(session, field)}, request.base)[field]
    if field in request.space:
        message = f"{field!r} is what is compared; take it out of nuisance"
        raise ConfigError([Problem("nuisance", field, message)])
    known = list(_results(session)) if way.learns else []
    arms = []
    for value in options.options:
        base = prepare(session.task, request.base.replace(**{field: value}))
        space = Space(request.space, base)
        arm = Arm(
            space,
            way,
            better=session.reads.better,
            seed=request.seed,
            pruner=pruner,
            points=request.points,
        )
        arm.teach(known)
        arms.append(arm)
    each = request.trials or TRIALS // 4
    request = replace(request, trials=each * len(arms))
    settings = {**request.settings(None), "compare": field, "values": list(options.options), "finals": finals}
    settings["nuisance"] = {name: repr(domain) for name, domain in Space(request.space, request.base).items()}
    comparison = _submit(session, request, f"compare {field}", arms, settings, finals=finals, kind=Comparison)
    comparison.session, comparison.field = session, field
    comparison.nuisance = tuple(request.space)
    return comparison


def _submit(
    session: Session,
    request: SearchRequest,
    label: str,
    arms: list[Arm],
    settings: Mapping[str, Any],
    *,
    finals: int = 0,
    first_number: int = 0,
    kind: type[S] = Search,  # type: ignore[assignment]
) -> S:
    number = session.log.create_search(
        label, settings, task_fingerprint=session.task.fingerprint, continues=request.continues
    )
    origin = request.continues or number
    search: S
    cohort: list[int | None] = [None]

    def create(rows: Sequence[NewRow], joins: bool) -> list[int]:
        if not joins or cohort[0] is None:
            cohort[0] = session.log.next_cohort()
        about = {
            "name": request.name, "note": request.note, "tags": request.tags, "device": request.device,
            "cohort": cohort[0], "search": origin,
        }  # fmt: skip
        numbers: dict[int, int] = {}
        leaders = [index for index, row in enumerate(rows) if row.first is None]
        for group in (leaders, [index for index, row in enumerate(rows) if row.first is not None]):
            new = [
                session.new_trial(
                    rows[index].config,
                    source=rows[index].source,
                    parent=rows[index].parent if rows[index].first is None else numbers[rows[index].first or 0],
                    suggestion=rows[index].suggestion,
                    **about,
                )
                for index in group
            ]
            numbers |= dict(zip(group, session.log.create(new), strict=True))
        ordered = [numbers[index] for index in range(len(rows))]
        configs = {trial: row.config for trial, row in zip(ordered, rows, strict=True)}
        session.adopt(search, configs)
        return ordered

    wanted = request.cohort

    def fitting(config: Config, waiting: int) -> int:
        return wanted or session.capacity(config, request.device, waiting)

    campaign = Campaign(
        arms,
        request.budget,
        create=create,
        capacity=fitting,
        better=session.reads.better,
        check=lambda config: check(session.task, config),
        seeds=request.seeds,
        finals=finals,
        first_number=first_number,
        pruning=pruning(request.pruner) is not None,
    )
    training = Training(session.task, {}, device=request.device, supply=campaign)
    search = kind(number, label, training, campaign, pump=session.tick)
    session.submit(search)
    return search


def _results(session: Session) -> Iterable[Result]:
    """What the log knows on this task, manual trials included: ended trials only, the seeds of one setting each alone."""
    useful = {str(TrialState.COMPLETED), str(TrialState.EARLY_STOPPED)}
    frame = session.reads.trials()
    frame = frame[frame["state"].isin(useful | {str(TrialState.DIVERGED)}) & (frame["metric"] == session.task.metric)]
    configs = session.log.configs([int(trial) for trial in frame["trial"]])
    for trial, state, value in zip(frame["trial"], frame["state"], frame["best_val_metric"], strict=True):
        try:
            config = Config(**configs[int(trial)])
        except ConfigError:
            continue  # of a model that is not registered here
        yield Result(config, float(value) if state in useful else math.nan)


def _values(session: Session, field: str) -> list[Any]:
    """All values of a choice. Raises: ConfigError when the field has no list of values."""
    registry: Registry[Any] | None = CHOICES.get(field)
    if registry is not None:
        return registry.suited_to(session.task.kind)
    if field in ("batch_norm",):
        return [False, True]
    message = f"{field!r} has no list of values; name those to compare: values=[...]"
    raise ConfigError([Problem("values", None, message)])
