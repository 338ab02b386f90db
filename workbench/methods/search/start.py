"""Start a search or a fair comparison: its entry in the log, its campaign, and its handle, complete before it is queued."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from workbench.core.config import CHOICES
from workbench.core.errors import ConfigError, Problem
from workbench.core.registry import Registry
from workbench.core.space import Space
from workbench.core.warn import callers_level
from workbench.log import SearchStep
from workbench.methods.comparison.reads import Reads
from workbench.methods.search.arm import Arm
from workbench.methods.search.campaign import Campaign
from workbench.methods.search.fair_comparison import Comparison
from workbench.methods.search.feasible import check_space
from workbench.methods.search.handle import Search
from workbench.methods.search.recorder import LogRecorder, drawn_before, results_of, tried_in
from workbench.methods.search.request import TRIALS, SearchRequest
from workbench.methods.search.strategies import pruning, strategy
from workbench.runs.session import Session
from workbench.training import Training, check, prepare, without_effect

__all__ = ["campaign_of", "search_of", "start_comparison", "start_search"]


def start_search(session: Session, request: SearchRequest) -> Search:
    """Queue a search. Raises: ConfigError naming the invalid argument; nothing is logged in that case."""
    request = request.checked(session)
    done = 0 if request.continues is None else session.log.searches.suggestions(request.continues)
    return _begin(session, request, done)


def start_comparison(session: Session, request: SearchRequest, field: str, values: Sequence[Any] | None) -> Comparison:
    """Tune the nuisance hyperparameters for each value of `field` separately, then replicate the best configuration of each."""
    request = request.checked(session)
    if not isinstance(field, str):
        raise ConfigError([Problem("field", field, f"field={field!r}: name one hyperparameter, such as 'optimizer'")])
    if values is not None and (isinstance(values, str) or not isinstance(values, Iterable)):
        some = f"[{values!r}, ...]"
        message = f"values={values!r}: give a list of the values to compare, values={some}, or omit it to compare all"
        raise ConfigError([Problem("values", values, message)])
    options: Any = Space({field: list(values) if values is not None else _values(session, field)}, request.base)[field]
    if field in request.space:
        message = f"{field!r} is the hyperparameter that is compared; remove it from nuisance"
        raise ConfigError([Problem("nuisance", field, message)])
    each = request.trials or TRIALS // 4
    found = tuple(options.options)
    comparison = _begin(session, replace(request, field=field, values=found, trials=each * len(found)), 0)
    assert isinstance(comparison, Comparison)
    return comparison


def _begin(session: Session, request: SearchRequest, done: int) -> Search:
    task = session.task
    for space in request.spaces():
        check_space(space, lambda config: check(task, config), lambda config: prepare(task, config))
    _warn(request)
    results = dict(results_of(session)) if strategy(request.strategy).learns else {}
    tried = dict(tried_in(session, request.continues)) if request.continues is not None else {}
    drawn = drawn_before(session, request, done) if done else 0
    arms = request.arms(session, list(results.values()), done, list(tried.values()), drawn)
    number = session.log.searches.create(
        request.label, request.options(), task_fingerprint=task.fingerprint, continues=request.continues
    )
    begun = {"request": request.record(), "taught": list(results), "done": done, "tried": list(tried), "drawn": drawn}
    session.log.searches.add_step(SearchStep(number, "begun", begun))
    recorder = LogRecorder(session, request, number)
    campaign = campaign_of(session, request, arms, recorder, done)
    training = Training(session.task, {}, device=request.device, supply=campaign)
    search = search_of(session, request, number, training, campaign, recorder)
    search.check_code(request.base)  # as it is now: what it refers to may change while the search waits
    session.submit(search)
    return search


def _warn(request: SearchRequest) -> None:
    """Warn of hyperparameters of the base that have no effect, whatever is searched; those of each trial are logged with it."""
    searched = [*request.space, *([] if request.field is None else [request.field])]
    for problem in without_effect(request.base, searched):
        warnings.warn(problem.message, UserWarning, stacklevel=callers_level())


def campaign_of(
    session: Session, request: SearchRequest, arms: Sequence[Arm], recorder: LogRecorder, done: int
) -> Campaign:
    """The campaign of a search. done: configurations that were drawn before, by the searches that it continues."""
    return Campaign(
        arms,
        request.budget,
        recorder=recorder,
        better=Reads.of(session).better,
        check=lambda config: check(session.task, config),
        seeds=request.seeds,
        finals=request.finals,
        first_number=done,
        pruning=pruning(request.pruner) is not None,
    )


def search_of(
    session: Session, request: SearchRequest, number: int, training: Training, campaign: Campaign, recorder: LogRecorder
) -> Search:
    """The complete handle of a search, ready to be queued."""
    if request.field is None:
        search = Search(number, request.label, training, campaign, pump=session.keep_live)
    else:
        search = Comparison(session, request, number, training, campaign)
    recorder.attach(search)
    return search


def _values(session: Session, field: str) -> list[Any]:
    """All values of a choice. Raises: ConfigError when the field has no list of values."""
    registry: Registry[Any] | None = CHOICES.get(field)
    if registry is not None:
        return registry.suited_to(session.task.kind)
    if field == "batch_norm":
        return [False, True]
    message = f"{field!r} has no list of values; name those to compare: values=[...]"
    raise ConfigError([Problem("values", None, message)])
