"""From the arguments of `bench.search` and `bench.compare` to a campaign on the runner."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from workbench.core.config import CHOICES, Config
from workbench.core.errors import ConfigError, LogError, Problem, RunError
from workbench.core.events import Event, Message, TrialState
from workbench.core.registry import Registry
from workbench.core.space import Space
from workbench.log import SearchStep
from workbench.methods.comparison.figure import intervals
from workbench.methods.comparison.leaderboard import leaderboard
from workbench.methods.comparison.reads import Reads
from workbench.methods.search.arm import Arm, Result
from workbench.methods.search.campaign import Budget, Call, Campaign, NewRow
from workbench.methods.search.handle import Search
from workbench.methods.search.strategies import PRUNERS, STRATEGIES, pruning, strategy
from workbench.models import builder_identity
from workbench.runs.arguments import search_numbers
from workbench.runs.session import Session
from workbench.training import Training, check, prepare
from workbench.ui.figures import NotebookFigure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

__all__ = [
    "TRIALS",
    "Comparison",
    "LogDesk",
    "SearchRequest",
    "campaign_of",
    "continued",
    "results_of",
    "search_of",
    "start_comparison",
    "start_search",
]

TRIALS = 64
"""Settings a search tries when no budget is given."""


class Comparison(Search):
    """A fair comparison under way: a search for each value, then fresh seeds of the best configuration of each."""

    session: Session
    field: str
    nuisance: tuple[str, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row a value, best first, from the fresh seeds alone.

        Columns: the compared field, mean, low and high (95% confidence interval), seeds, p_value and tied (Welch's t-test
        against the best, as in `bench.leaderboard`), tuned_score (the best of the tuning, which is too good: it was picked),
        configurations (budget of the tuning), epochs (all that the value's trials trained for), trial, and the tuned values.
        """
        frame = Reads.of(self.session).trials_of(self.number)
        records = self.session.log.records([int(trial) for trial in frame["trial"]])
        frame = frame.assign(value=[str(records[int(trial)].config[self.field]) for trial in frame["trial"]])
        finals = frame[frame["source"] == "replicate"]
        names = {"trial": "trial", "value": "configuration", "seed": "seed", "best_val_metric": "score"}
        scores = finals[list(names)].rename(columns=names)
        board = leaderboard(scores, better=Reads.of(self.session).better)
        rows = []
        for row in board.itertuples(index=False):
            tuning = frame[(frame["value"] == row.configuration) & (frame["source"] != "replicate")]
            first = finals[finals["value"] == row.configuration].iloc[0]
            tuned = {name: records[int(first["trial"])].config[name] for name in self.nuisance}
            parent = frame[frame["trial"] == first["parent"]].iloc[0]
            rows.append(
                {
                    self.field: row.configuration, "mean": row.mean, "low": row.low, "high": row.high, "seeds": row.seeds,
                    "p_value": row.p_value, "tied": row.tied, "tuned_score": parent["best_val_metric"],
                    "configurations": len(tuning),
                    "epochs": int(frame.loc[frame["value"] == row.configuration, "epochs_run"].sum()),
                    "trial": int(parent["trial"]), **tuned,
                }
            )  # fmt: skip
        return pd.DataFrame(rows)

    def figure(self) -> NotebookFigure:
        """The table as a figure: mean and interval of each value."""
        return intervals(self.table, label=self.field, metric_label=Reads.of(self.session).metric_label)


@dataclass(frozen=True)
class SearchRequest:
    """What `bench.search` was asked for; see there. field, values, finals: of a fair comparison, see `bench.compare`."""

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
    field: str | None = None
    values: tuple[Any, ...] = ()
    finals: int = 0

    def checked(self, session: Session) -> SearchRequest:
        """The same, each value checked. Raises: ConfigError naming the argument."""
        numbers = search_numbers({field.name: getattr(self, field.name) for field in fields(self)})
        return replace(self, base=prepare(session.task, self.base), **numbers)

    @property
    def budget(self) -> Budget:
        unlimited = self.trials is None and self.seconds is None and self.no_improvement is None
        count = TRIALS if unlimited and strategy(self.strategy).sampler is not None else self.trials
        return Budget(count, self.seconds, self.no_improvement)

    @property
    def label(self) -> str:
        """What the log calls the strategy."""
        return strategy(self.strategy).name if self.field is None else f"compare {self.field}"

    def options(self) -> dict[str, Any]:
        """What the log shows of it, and what `continues=` goes by."""
        own_pruner = pruning(self.pruner)
        space = Space(self.space, self.base)
        compared = (
            {} if self.field is None else {"compare": self.field, "values": list(self.values), "finals": self.finals}
        )
        if self.field is not None:
            compared["nuisance"] = {name: repr(domain) for name, domain in space.items()}
        return {
            "space": None if self.field is not None else json.loads(space.to_json()),
            "base": self.base.model_dump(),
            "budget_trials": self.budget.trials,
            "budget_seconds": self.seconds,
            "no_improvement": self.no_improvement,
            "pruner": None if own_pruner is None else own_pruner.name,
            "seeds": self.seeds,
            "seed": self.seed,
            "points": self.points,
            **compared,
        }

    def record(self) -> dict[str, Any]:
        """All of it as JSON values, so that the very same search can be built again.

        A sampler or pruner of the user's own cannot be kept; its place says "own".
        """
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        own = {name: "own" for name in ("strategy", "pruner") if not isinstance(plain[name], (str, type(None)))}
        space = json.loads(Space(self.space, self.base).to_json())
        return {**plain, **own, "base": self.base.model_dump(), "space": space}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> SearchRequest:
        """The request out of its record. Raises: RunError if it used a sampler or pruner of the user's own."""
        for name in ("strategy", "pruner"):
            if record[name] == "own":
                message = (
                    f"it used a {'sampler' if name == 'strategy' else 'pruner'} of your own, which no log can hold"
                )
                raise RunError(f"{message}; go on with bench.search(continues=..., {name}=...)")
        base = Config(**record["base"])
        space = dict(Space.from_json(json.dumps(record["space"]), base))
        tuples = {name: tuple(record[name]) for name in ("tags", "values")}
        return cls(**{**record, **tuples, "base": base, "space": space})

    def arms(self, session: Session, results: Sequence[Result], done: int) -> list[Arm]:
        """Where its configurations come from: one stream, or one for each value that is compared, which know `results`."""
        way, pruner = strategy(self.strategy), pruning(self.pruner)
        bases = [self.base]
        if self.field is not None:
            bases = [prepare(session.task, self.base.replace(**{self.field: value})) for value in self.values]
        better, points = Reads.of(session).better, self.points
        arms = [
            Arm(Space(self.space, base), way, better=better, seed=self.seed, pruner=pruner, points=points, done=done)
            for base in bases
        ]
        for arm in arms:
            arm.teach(results)
        return arms


def continued(session: Session, number: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an earlier search, with those that are given anew.

    Raises: LogError for an unknown number; ConfigError where its sampler or pruner, which was the user's own, is not given again.
    """
    frame = session.log.searches.table()
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
    for argument, what, known in (("strategy", "sampler", STRATEGIES), ("pruner", "pruner", PRUNERS)):
        name = kept[argument]
        if argument not in given and name is not None and name not in known:
            message = f"search {number} used a {what} of your own ({name}), which no log can hold"
            remedy = f"give it again: bench.search({argument}=..., continues={number})"
            raise ConfigError([Problem(argument, name, f"{message}; {remedy}")])
    return {**kept, **given, "base": base, "space": space, "continues": _root(frame, number)}


def _root(frame: pd.DataFrame, number: int) -> int:
    """The search that others, one after the other, have continued: their trials carry its number."""
    continues = dict(zip(frame["search"], frame["continues"], strict=True))
    while not pd.isna(continues[number]):
        number = int(continues[number])
    return number


def start_search(session: Session, request: SearchRequest) -> Search:
    """Put a search on the runner. Raises: ConfigError naming what is wrong; nothing is logged then."""
    request = request.checked(session)
    Space(request.space, request.base)
    done = 0 if request.continues is None else session.log.searches.suggestions(request.continues)
    return _begin(session, request, done)


def start_comparison(session: Session, request: SearchRequest, field: str, values: Sequence[Any] | None) -> Comparison:
    """Tune the nuisance hyperparameters anew for each value of `field`, then replicate the best configuration of each."""
    request = request.checked(session)
    if not isinstance(field, str):
        raise ConfigError([Problem("field", field, f"field={field!r}: name one hyperparameter, such as 'optimizer'")])
    if values is not None and (isinstance(values, str) or not isinstance(values, Iterable)):
        some = f"[{values!r}, ...]"
        message = f"values={values!r}: give a list of the values to compare, values={some}, or leave it out for all"
        raise ConfigError([Problem("values", values, message)])
    options: Any = Space({field: list(values) if values is not None else _values(session, field)}, request.base)[field]
    if field in request.space:
        message = f"{field!r} is what is compared; take it out of nuisance"
        raise ConfigError([Problem("nuisance", field, message)])
    each = request.trials or TRIALS // 4
    found = tuple(options.options)
    comparison = _begin(session, replace(request, field=field, values=found, trials=each * len(found)), 0)
    assert isinstance(comparison, Comparison)
    return comparison


def _begin(session: Session, request: SearchRequest, done: int) -> Search:
    results = dict(results_of(session)) if strategy(request.strategy).learns else {}
    arms = request.arms(session, list(results.values()), done)
    number = session.log.searches.create(
        request.label, request.options(), task_fingerprint=session.task.fingerprint, continues=request.continues
    )
    begun = {"request": request.record(), "taught": list(results), "done": done}
    session.log.searches.add_step(SearchStep(number, "begun", begun))
    campaign, desk = campaign_of(session, request, arms, number, done)
    search = search_of(
        session, request, number, campaign, Training(session.task, {}, device=request.device, supply=campaign)
    )
    desk.search = search
    session.submit(search)
    return search


def campaign_of(
    session: Session, request: SearchRequest, arms: list[Arm], number: int, done: int
) -> tuple[Campaign, LogDesk]:
    """The campaign of a search, and the desk it asks."""
    desk = LogDesk(session, request, number)
    campaign = Campaign(
        arms,
        request.budget,
        desk=desk,
        better=Reads.of(session).better,
        check=lambda config: check(session.task, config),
        seeds=request.seeds,
        finals=request.finals,
        first_number=done,
        pruning=pruning(request.pruner) is not None,
    )
    return campaign, desk


def search_of(session: Session, request: SearchRequest, number: int, campaign: Campaign, training: Training) -> Search:
    """The handle of a search."""
    if request.field is None:
        return Search(number, request.label, training, campaign, pump=session.keep_live)
    comparison = Comparison(number, request.label, training, campaign, pump=session.keep_live)
    comparison.session, comparison.field, comparison.nuisance = session, request.field, tuple(request.space)
    return comparison


class LogDesk:
    """Enters into the log what a campaign decides; `replayed` holds what was decided, while a search is built again."""

    def __init__(self, session: Session, request: SearchRequest, number: int) -> None:
        self._session, self._request, self._number = session, request, number
        self.cohort: int | None = None
        self.search: Search | None = None
        self.replayed: Mapping[str, Any] | None = None
        self._unmeasured: str | None = None

    def create(self, rows: Sequence[NewRow], call: Call) -> list[int]:
        if self.replayed is not None:
            return list(self.replayed["trials"])
        if call.kind == "next" or self.cohort is None:
            self.cohort = self._session.log.next_cohort()
        request = self._request
        new = [
            self._session.new_trial(
                row.config, source=row.source, parent=row.parent if row.first is None else None, replicates=row.first,
                suggestion=row.suggestion, name=request.name, note=request.note, tags=request.tags,
                device=request.device, cohort=self.cohort, search=request.continues or self._number,
            )
            for row in rows
        ]  # fmt: skip
        step = SearchStep(self._number, "asked", call._asdict())

        unmeasured, self._unmeasured = self._unmeasured, None

        def said(numbers: Sequence[int]) -> list[Event]:
            return [] if unmeasured is None else [Message(number, unmeasured) for number in numbers]

        def enter() -> list[int]:
            assert self.search is not None
            self.search.check_code(*(row.config for row in rows))
            with self._session.lock:
                numbers = self._session.log.create(new, step=step, events=said)
                self._session.adopt(self.search, {n: row.config for n, row in zip(numbers, rows, strict=True)})
            return numbers

        return self._patiently(enter)

    def note(self, call: Call) -> None:
        if self.replayed is None:
            step = SearchStep(self._number, "asked", {**call._asdict(), "trials": []})
            self._patiently(lambda: self._session.log.searches.add_step(step))

    def shrunk(self, size: int) -> None:
        if self.replayed is None:
            step = SearchStep(self._number, "shrunk", {"size": size})
            self._patiently(lambda: self._session.log.searches.add_step(step))

    def _patiently(self, write: Callable[[], T]) -> T:
        """Write, trying again while the log cannot be written for a passing reason, as the runner does."""
        while True:
            try:
                return write()
            except LogError as error:
                if self.search is None or not error.passing or not self.search.waits_for_room(str(error)):
                    raise

    def fits(self, config: Config, wanted: int) -> int:
        if self.replayed is not None:
            return int(self.replayed["fits"])
        if self._request.cohort:
            return self._request.cohort
        try:
            return self._session.capacity(config, self._request.device, wanted)
        except (
            Exception
        ) as error:  # of the user's model or data, or a passing one: it is logged with the trials, which train singly
            self._unmeasured = (
                f"trains alone: measuring how many trials fit together raised {type(error).__name__}: {error}"
            )
            return 1

    def is_up(self, up: bool) -> bool:
        return up if self.replayed is None else bool(self.replayed["up"])

    def stopped(self) -> bool:
        return self.replayed is None and self.search is not None and self.search.stopped


def results_of(session: Session, trials: Sequence[int] | None = None) -> Iterator[tuple[int, Result]]:
    """What the log knows on this task by trial, manual ones included: ended trials only, the seeds of one
    configuration each alone.

    trials: only these; by default all but those that were altered, which tell nothing of the configuration that they began with.
    """
    useful = {str(TrialState.COMPLETED), str(TrialState.EARLY_STOPPED)}
    frame = Reads.of(session).trials()
    frame = frame[frame["state"].isin(useful | {str(TrialState.DIVERGED)}) & (frame["metric"] == session.task.metric)]
    known = frame["trial"].isin(trials) if trials is not None else ~frame["trial"].isin(session.log.results.altered())
    frame = frame[(frame["source"] != "replay") & known]
    records = session.log.records([int(trial) for trial in frame["trial"]])
    for trial, state, value in zip(frame["trial"], frame["state"], frame["best_val_metric"], strict=True):
        try:
            config = Config(**records[int(trial)].config)
        except ConfigError:
            continue  # of a model that is not registered here
        if records[int(trial)].builder != builder_identity(config.model):
            continue  # of another version of the model
        yield int(trial), Result(config, float(value) if state in useful else math.nan)


def _values(session: Session, field: str) -> list[Any]:
    """All values of a choice. Raises: ConfigError when the field has no list of values."""
    registry: Registry[Any] | None = CHOICES.get(field)
    if registry is not None:
        return registry.suited_to(session.task.kind)
    if field in ("batch_norm",):
        return [False, True]
    message = f"{field!r} has no list of values; name those to compare: values=[...]"
    raise ConfigError([Problem("values", None, message)])
