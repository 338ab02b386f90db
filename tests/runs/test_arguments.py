"""Wrong arguments of the public calls: each is told with its name, its value and the remedy, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from sqlalchemy import func, select
from torch import nn

import workbench as wb
from workbench.core.registry import LOSSES, METRICS, MODELS, OPTIMIZERS, SCHEDULES
from workbench.log import schema

SHORT = wb.Config(epochs=1, batch_size=64)
SPACE = {"learning_rate": wb.LogRange(1e-3, 1e-1)}
TABLES = (schema.trials, schema.cohorts, schema.searches, schema.findings, schema.edits)
Call = Callable[[Any], object]


@pytest.fixture(scope="module")
def bench() -> wb.Workbench:
    """Three trials, the first two of a search; what is refused changes nothing of it."""
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.search(space=SPACE, base=SHORT, trials=2, blocking=True)
    bench.run(SHORT)
    return bench


def rows(bench: wb.Workbench) -> list[int]:
    """How much there is in each table of the log."""
    with bench.log.database.read() as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in TABLES]


def refused(bench: wb.Workbench, call: Call, error: type[Exception], message: str) -> None:
    """The call raises, and the log has what it had before."""
    before = rows(bench)
    with pytest.raises(error, match=message):
        call(bench)
    assert rows(bench) == before


# --- name, note, tags ---------------------------------------------------------------------------------------------------

NAMED: dict[str, Call] = {
    "start": lambda bench: lambda **given: bench.start(SHORT, **given),
    "search": lambda bench: lambda **given: bench.search(space=SPACE, base=SHORT, trials=1, **given),
    "compare": lambda bench: lambda **given: bench.compare("optimizer", nuisance=SPACE, base=SHORT, trials=1, **given),
    "branch": lambda bench: lambda **given: bench.branch(1, epochs=2, **given),
    "finetune": lambda bench: lambda **given: bench.finetune(1, **given),
    "annotate": lambda bench: lambda **given: bench.annotate(1, **given),
    "ensemble": lambda bench: lambda **given: bench.ensemble(**given),
    "continue_on": lambda bench: lambda **given: bench.continue_on(None, **given),
}
TAGS: list[tuple[Any, str]] = [
    ("abc", r"tags is a str \('abc'\): give a list: tags=\['abc'\]"),
    (3, r"tags is a int \(3\): give a list of texts"),
    ({"a": 1}, "tags is a dict: give a list of texts"),
    (["a", None], r"tags=\['a', None\]: None is a NoneType; give a list of texts"),
    ([np.int64(3)], r"tags=\[.*3.*\]: .*3.* is a int64; give a list of texts"),
]


@pytest.mark.parametrize("name", NAMED)
def test_a_name_and_a_note_are_text(bench: wb.Workbench, name: str) -> None:
    wrong: list[Any] = [3, object(), ["a"], *([] if name == "annotate" else [None])]
    for argument in ("name", "note"):
        for value in wrong:
            message = (
                f"^{argument} is a {type(value).__name__}.*: give text, such as {argument}='first try', or leave it out"
            )
            refused(bench, lambda bench, given={argument: value}: NAMED[name](bench)(**given), wb.ConfigError, message)  # type: ignore[misc]


@pytest.mark.parametrize("name", sorted(NAMED.keys() - {"ensemble", "continue_on"}))
def test_tags_are_texts_in_a_list(bench: wb.Workbench, name: str) -> None:
    for value, message in TAGS + ([] if name == "annotate" else [(None, "tags is a NoneType: give a list of texts")]):
        refused(bench, lambda bench, value=value: NAMED[name](bench)(tags=value), wb.ConfigError, message)  # type: ignore[misc]


def test_texts_of_numpy_are_kept_as_texts() -> None:
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.run(SHORT, name=np.str_("n"), note=np.str_("why"), tags=np.array(["a", "b"]))
    assert bench.trials.loc[0, ["name", "note", "tags"]].tolist() == ["n", "why", ("a", "b")]
    bench.annotate(np.int64(1), tags={"c": 1}.keys())  # type: ignore[arg-type]
    assert bench.trials.loc[0, "tags"] == ("c",)


# --- what is registered -------------------------------------------------------------------------------------------------


def _other(*_args: Any, **_options: Any) -> Any:
    return torch.optim.SGD, {}  # what a rule returns; the others are not called


@pytest.mark.parametrize(
    ("register", "table", "name"),
    [
        (wb.register_model, MODELS, "mlp"),
        (wb.register_loss, LOSSES, "mse"),
        (wb.register_metric, METRICS, "accuracy"),
        (wb.register_optimizer, OPTIMIZERS, "adam"),
        (wb.register_schedule, SCHEDULES, "cosine"),
    ],
)
def test_what_is_built_in_keeps_its_name_and_ones_own_is_replaced(
    register: Callable[..., None], table: Any, name: str
) -> None:
    before = table[name]
    with pytest.raises(wb.ConfigError, match=f"{table.what} '{name}' is built in.*take another name, my_{name}"):
        register(name, _other)
    assert table[name] is before
    try:
        register("of_arguments", _other)
        register("of_arguments", lambda *_args: (torch.optim.SGD, {}), label="again")  # the cell was run twice
        assert table["of_arguments"].label == "again"
    finally:
        table.unregister("of_arguments")


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (
            "classification",
            r"kinds='classification': give a list.*'classification', 'count', .*kinds=\['classification'\]",
        ),
        (None, "kinds=None: give a list"),
        (["classification", "regresion"], "no kind of task 'regresion'; did you mean 'regression'"),
        ([["classification"]], r"no kind of task \['classification'\]"),
        ([], "name one kind of task or more, out of 'classification', 'count'"),
    ],
)
def test_the_kinds_of_task_are_known_ones_in_a_list(kinds: Any, message: str) -> None:
    for register, table in ((wb.register_loss, LOSSES), (wb.register_metric, METRICS)):
        with pytest.raises(wb.ConfigError, match=message):
            register("of_arguments", _other, kinds=kinds)
        assert "of_arguments" not in table


# --- the calls ----------------------------------------------------------------------------------------------------------

CONFIG, RUN, LOG = wb.ConfigError, wb.RunError, wb.LogError
WRONG: list[tuple[str, Call, type[Exception], str]] = [
    *(
        (f"{call} {value!r}", lambda bench, call=call, value=value: getattr(bench, call)(value), error, message)  # type: ignore[misc]
        for call in ("curves", "events", "figure", "delete")
        for value, error, message in [
            ("a", RUN, "trial='a': must be a whole number"),
            (1.5, RUN, "trial=1.5: must be a whole number"),
            (True, RUN, "trial=True: must be a whole number"),
            (None, RUN, "trial=None: must be a whole number"),
            (99, LOG, "trial 99 is not in the log, which has 3 trials"),
            ([1, 2], CONFIG, rf"trials=\[1, 2\]: give them one by one: bench.{call}\(\*\[1, 2\]\)"),
            (np.array([1, 2]), CONFIG, rf"give them one by one: bench.{call}\(\*\[1, 2\]\)"),
        ]
    ),
    *(
        (f"leaderboard {top!r}", lambda bench, top=top: bench.leaderboard(top), CONFIG, "must be a whole number from 1")  # type: ignore[misc]
        for top in ("a", 1.5, True, -1, 0)
    ),
    ("space in a list", lambda b: b.search(space=["l2"]), CONFIG, r"space is a list: .*space=\{'l2': wb.LogRange"),
    ("space as text", lambda b: b.search(space="l2"), CONFIG, r"space is a str \('l2'\): .*space=\{'l2': wb.LogRange"),
    ("nuisance in a list", lambda b: b.compare("optimizer", nuisance=["l2"]), CONFIG, r"nuisance is a list: .*nuisance=\{'l2'"),
    ("no nuisance", lambda b: b.compare("optimizer", nuisance=None), CONFIG, r"nuisance is a NoneType: .*\{'learning_rate'"),
    ("values as a number", lambda b: b.compare("optimizer", 3, nuisance=SPACE), CONFIG, r"values=3: give a list.*\[3, \.\.\.\]"),
    ("values as text", lambda b: b.compare("optimizer", "adam", nuisance=SPACE), CONFIG, "values='adam': give a list.*'adam'"),
    ("no field", lambda b: b.compare(["a"], nuisance=SPACE), CONFIG, r"field=\['a'\]: name one hyperparameter"),
    ("seconds", lambda b: b.search(space=SPACE, seconds="a"), CONFIG, "seconds='a': must be a number above 0"),
    ("seconds nan", lambda b: b.search(space=SPACE, seconds=np.nan), CONFIG, "seconds=nan: must be a number above 0"),
    ("no seed", lambda b: b.search(space=SPACE, seed=None), CONFIG, "seed=None: must be a whole number from 0"),
    ("no seeds", lambda b: b.search(space=SPACE, seeds=None), CONFIG, "seeds=None: must be a whole number from 1"),
    ("points", lambda b: b.search("grid", SPACE, points=None), CONFIG, "points=None: must be a whole number from 2"),
    ("two at once", lambda b: b.search(space=SPACE, trials=0, cohort="a"), CONFIG, r"trials=0: [^\n]*\ncohort='a': must be"),
    ("device 0", lambda b: b.search(space=SPACE, device=0), CONFIG, "device=0: this machine has cpu.*device='cpu'"),
    ("no device", lambda b: b.start(SHORT, device=""), CONFIG, "device='': this machine has cpu"),
    ("a changes number", lambda b: b.start(SHORT, changes=3), CONFIG, r"changes=3: give a list of \(step, hyperparameter"),
    ("a changes text", lambda b: b.start(SHORT, changes="l2"), CONFIG, "changes='l2': give a list"),
    ("seeds as text", lambda b: b.start(SHORT, seeds="2"), CONFIG, "seeds='2': must be a whole number from 1 to 1000"),
    *(
        (f"{name} {search!r}", lambda bench, read=read, search=search: read(bench, search), error, message)  # type: ignore[misc]
        for name, read in {
            "range_edges": lambda bench, search: bench.range_edges(search),
            "importance": lambda bench, search: bench.importance(search),
            "plot": lambda bench, search: bench.plot(search=search),
        }.items()
        for search, error, message in [
            (99, LOG, "search 99 is not in the log; see bench.searches"),
            ("a", RUN, "search='a': must be a whole number"),
        ]
    ),
    ("plot of a number", lambda b: b.plot(trials=1), CONFIG, "trials=1: give a list of trial numbers"),
    ("plot of texts", lambda b: b.plot(trials=["a"]), RUN, "trial='a': must be a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
def test_a_wrong_argument_is_named_and_leaves_nothing_behind(
    bench: wb.Workbench, call: Call, error: type[Exception], message: str
) -> None:
    refused(bench, call, error, message)


@pytest.mark.parametrize("trial", [1.5, True, "a", [1]])
def test_the_log_takes_no_part_of_a_number_for_a_trial(bench: wb.Workbench, trial: Any) -> None:
    for read in (bench.log.curves, bench.log.events):
        with pytest.raises(wb.LogError, match="is not in the log: expected a whole number"):
            read(trial)


def test_whole_numbers_of_numpy_are_whole_numbers(bench: wb.Workbench) -> None:
    two = np.int64(2)
    assert bench.curves(two, np.int32(1)).equals(bench.curves(2, 1))
    assert len(bench.curves(two)) == 1
    assert bench.curves(np.array(2), torch.tensor(1)).equals(bench.curves(2, 1))
    assert bench.events(two).equals(bench.events(2))
    assert len(bench.leaderboard(two)) == 2
    assert len(bench.leaderboard(None)) == 3
    assert bench.range_edges(np.int64(1)).columns.tolist() == bench.range_edges(1).columns.tolist()

    own = wb.Workbench(bench.task)
    space = {
        "learning_rate": wb.LogRange(np.float32(1e-3), np.float32(1e-1)),
        "batch_size": wb.IntRange(np.int64(16), np.int64(64)),
    }
    three, seconds = np.int64(3), np.float32(600)
    given = {"trials": three, "seconds": seconds, "no_improvement": np.int64(9), "cohort": three, "seed": np.int64(5)}
    own.search(space=space, base=SHORT, seeds=np.int64(1), points=three, blocking=True, **given)  # type: ignore[arg-type]
    row = own.searches.iloc[0]
    assert (len(own.trials), row["seed"], row["budget_seconds"]) == (3, 5, 600)
    assert row["space"]["batch_size"] == {"kind": "IntRange", "low": 16, "high": 64, "scale": "linear"}
    own.search(continues=np.int64(1), trials=np.int64(1), blocking=True)  # type: ignore[arg-type]
    own.run(SHORT, seeds=two, changes=[(np.int64(1), "l2", np.float32(0.5))], stop_after=np.int64(9))
    own.add_seeds(np.int64(1), np.int64(1)).wait()
    assert own.ensemble(two, size=two, candidates=np.int64(4)).number == 1
    compared = own.compare(
        "batch_norm", nuisance=SPACE, base=SHORT, trials=two, seeds=two, seed=np.int64(1), blocking=True
    )
    assert compared.table["seeds"].tolist() == [2, 2]


def test_a_search_with_a_sampler_of_ones_own_asks_for_it_again() -> None:
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.search(optuna.samplers.RandomSampler(seed=0), SPACE, SHORT, trials=1, blocking=True)
    bench.search("random", SPACE, SHORT, trials=1, pruner=optuna.pruners.NopPruner(), blocking=True)
    remedy = (
        r"search 1 used a sampler object of yours \(RandomSampler\).*again: bench.search\(strategy=..., continues=1\)"
    )
    refused(bench, lambda bench: bench.search(continues=1, trials=1), wb.ConfigError, remedy)
    remedy = (
        r"search 2 used a pruner object of yours \(NopPruner\).*give it again: bench.search\(pruner=..., continues=2\)"
    )
    refused(bench, lambda bench: bench.search(continues=2, trials=1), wb.ConfigError, remedy)
    bench.search(optuna.samplers.RandomSampler(seed=1), continues=1, trials=1, blocking=True)
    bench.search(continues=2, trials=1, pruner=optuna.pruners.NopPruner(), blocking=True)
    assert bench.trials["search"].tolist() == [1, 2, 1, 2]


def test_a_tree_says_on_which_task_a_trial_is(tmp_path: Path) -> None:
    wine = wb.Workbench(wb.Task.load("wine"), log=tmp_path / "trials.db")
    wine.run(SHORT)
    iris = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")
    assert repr(iris.tree(1)) == "trial 1 · on the task 'wine', not on this one"
    wine.delete(1)
    assert repr(iris.tree(1)) == repr(wine.tree(1)) == "trial 1 · in the trash"


# --- what is given at the beginning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda task: wb.Workbench(task, models=[_other]), r"models=\[.*\]: give each builder a name: models=\{'my_model'"),
        (lambda task: wb.Workbench(task, models="mlp"), "models='mlp': give each builder a name"),
        (lambda task: wb.Workbench(task, device="gpu"), "device='gpu': this machine has cpu"),
        (lambda task: wb.train(task, None), r"trials=None: give configurations by trial, such as trials=\{1: wb\.Config"),  # type: ignore[arg-type]
        (lambda task: wb.train(task, {"epochs": 3}), "trials={'epochs': 3}: give configurations by trial"),  # type: ignore[dict-item]
        (lambda task: wb.load_weights(None), "weights=None: give the path of a file"),
        (lambda task: wb.load_weights(3), "weights=3: give the path of a file"),
        (lambda task: wb.register_backbone("of_arguments", lambda: nn.Linear(4, 3), weights=3), "weights=3: give the path"),
    ],
)  # fmt: skip
def test_what_a_workbench_is_made_of(make: Callable[[wb.Task], object], message: str) -> None:
    with pytest.raises(wb.ConfigError, match=message):
        make(wb.Task.load("iris"))
    assert "of_arguments" not in MODELS


def test_a_log_is_a_place() -> None:
    with pytest.raises(wb.LogError, match="log is a int: give a path or a URL, or None for a log in memory"):
        wb.TrialLog(3)  # type: ignore[arg-type]


def test_the_models_of_a_file_are_given_by_name(bench: wb.Workbench, tmp_path: Path) -> None:
    path = bench.save(1, tmp_path / "model.pt")
    with pytest.raises(wb.ConfigError, match=r"models=\[1\]: give each builder a name"):
        wb.load_model(path, models=[1])  # type: ignore[arg-type]
    assert wb.load_model(path, models={}).trial == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("log", [":memory:", "sqlite://", "sqlite:///:memory:"])
def test_a_log_in_memory_may_be_called_as_sqlite_does(
    log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = wb.Workbench(wb.Task.load("iris"), log=log)
    bench.run(SHORT)
    assert len(bench.trials) == 1
    assert not list(tmp_path.iterdir()), "nothing is written"


@pytest.mark.parametrize(
    ("metric", "target", "message"),
    [
        (
            "acuracy",
            "classes",
            r"metric 'acuracy' of 'data' is unknown; for classification there are .*; did you mean 'accuracy'\?",
        ),
        (
            "auc",
            "classes",
            "metric 'auc' of 'data' is unknown; for classification .*wb.register_metric; did you mean 'roc_auc'",
        ),
    ],
)
def test_a_metric_suits_its_task_from_the_start(metric: str, target: str, message: str, bench: wb.Workbench) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 60) if target == "classes" else rng.normal(size=60)
    task = wb.Task.from_arrays(rng.normal(size=(60, 4)), y, name="data", metrics=metric)
    with pytest.raises(wb.TaskError, match=message):
        wb.Workbench(task)
    refused(bench, lambda bench: bench.finetune(1, task), wb.TaskError, message)


# --- a builder that returns what it returned before -----------------------------------------------------------------------


@pytest.fixture
def own() -> Iterator[str]:
    yield "of_arguments"
    MODELS.unregister("of_arguments")


def test_a_module_that_is_returned_twice_is_refused_before_anything_trains(own: str) -> None:
    net = nn.Linear(4, 3)
    before = net.weight.detach().clone()
    bench = wb.Workbench(wb.Task.load("iris"), models={own: lambda task: net})
    config = SHORT.replace(model=own)
    message = (
        r"model 'of_arguments': its builder returned the very same module twice.*; build a new module in the function"
    )
    for _ in range(2):
        refused(bench, lambda bench: bench.start(config), wb.ModelError, message)
    assert torch.equal(net.weight, before)

    trunk = nn.Linear(4, 8)
    bench = wb.Workbench(wb.Task.load("iris"), models={own: lambda task: nn.Sequential(trunk, nn.Linear(8, 3))})
    message = "returned a module with the very same parameter '0.weight' twice"
    refused(bench, lambda bench: bench.start(config), wb.ModelError, message)
    # what is frozen is the same in all trials, and may be shared
    trunk.requires_grad_(False)
    bench.run(config, seeds=2)
    assert bench.trials["state"].tolist() == ["completed"] * 2


def test_a_builder_is_tried_twice_only_at_first(own: str) -> None:
    calls = []

    def build(task: Any) -> nn.Module:
        calls.append(task)
        return nn.Linear(4, 3)

    wb.register_model(own, build)
    from workbench.models import build_model

    task = wb.Task.load("iris")
    first, second = (build_model(task, wb.Config(model=own)) for _ in range(2))
    assert len(calls) == 3
    assert torch.equal(first.weight, second.weight), "drawn from the seed, not from what another build left"  # type: ignore[arg-type]
