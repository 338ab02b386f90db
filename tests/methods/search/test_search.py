"""Searches on the real engine: samplers against optuna's own, pruning, refill, what goes wrong, what is continued."""

from __future__ import annotations

import importlib
import itertools
import math
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from scipy import stats

import workbench as wb
from tests.training import reference
from workbench.core.events import EpochEnd, TrialEnded, TrialState
from workbench.core.registry import MODELS
from workbench.core.space import Space
from workbench.methods.comparison.reads import Reads
from workbench.methods.search.arm import Arm
from workbench.methods.search.campaign import Campaign
from workbench.methods.search.protocol import Budget
from workbench.methods.search.strategies import PRUNERS, strategy
from workbench.training import Training, check, unstackable_fields

optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE = {"learning_rate": wb.LogRange(1e-4, 1e-1), "l2": wb.LogRange(1e-6, 1e-2)}
BASE = wb.Config(hidden_units=8, batch_size=16, epochs=2)


@pytest.fixture(scope="module")
def flowers() -> wb.Task:
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    return wb.Task.from_arrays(rng.normal(0, 1, (150, 6)) + y[:, None] * 0.5, y, name="three classes")


@pytest.fixture
def bench(flowers: wb.Task) -> wb.Workbench:
    return wb.Workbench(flowers)


def until(condition: Callable[[], bool]) -> None:
    """Look every few milliseconds, so that the log's lock is free in between."""
    look = threading.Event()
    while not condition():
        look.wait(0.005)


def settings(bench: wb.Workbench, search: int) -> list[tuple[float, ...]]:
    frame = bench.trials
    return list(frame[frame["search"] == search][list(SPACE)].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("random", lambda: optuna.samplers.RandomSampler(seed=5)),
        ("sobol", lambda: optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=5)),
        ("tpe", lambda: optuna.samplers.TPESampler(seed=5, constant_liar=True)),
        ("gp", lambda: optuna.samplers.GPSampler(seed=5)),
        ("cmaes", lambda: optuna.samplers.CmaEsSampler(seed=5)),
    ],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_settings_are_those_of_optunas_sampler(bench: wb.Workbench, name: str, sampler: Callable[[], Any]) -> None:
    bench.search(name, SPACE, BASE, trials=24, seed=5, blocking=True)
    frame = bench.trials.sort_values("suggestion")
    study = optuna.create_study(sampler=sampler(), direction="maximize", study_name="workbench")
    for start in range(0, 24, 8):
        asked = [study.ask() for _ in range(8)] if strategy(name).learns else []
        batch = []
        for index in range(start, start + 8):
            trial = asked[index - start] if asked else study.ask()
            low_high = [
                trial.suggest_float(key, domain.low, domain.high, log=True) for key, domain in sorted(SPACE.items())
            ]
            row = frame[frame["suggestion"] == index].iloc[0]
            assert [row["l2"], row["learning_rate"]] == pytest.approx(low_high, rel=1e-12)
            batch.append((trial, float(row["best_val_metric"])))
        for trial, value in batch:
            study.tell(trial, value)


@pytest.mark.parametrize("name", ["grid", "random", "tpe"])
def test_one_seed_gives_the_same_trials_again(flowers: wb.Task, name: str) -> None:
    found = []
    for _ in range(2):
        bench = wb.Workbench(flowers)
        # the size of a cohort is measured unless it is given, and another size may round differently
        bench.search(name, SPACE, BASE, trials=20, seed=3, cohort=10, blocking=True)
        found.append(bench.trials[[*SPACE, "best_val_loss"]])
    assert found[0].equals(found[1])


def test_a_stopped_search_goes_on_where_it_was(flowers: wb.Task) -> None:
    whole, parts = wb.Workbench(flowers), wb.Workbench(flowers)
    whole.search("random", SPACE, BASE, trials=30, seed=1, blocking=True)
    parts.search("random", SPACE, BASE, trials=12, seed=1, blocking=True)
    parts.search(continues=1, trials=18, blocking=True)
    assert settings(whole, 1) == settings(parts, 1)
    assert list(parts.searches["continues"].fillna(0)) == [0, 1]


def test_a_continued_search_may_have_another_space(bench: wb.Workbench) -> None:
    bench.search("random", SPACE, BASE, trials=4, blocking=True)
    bench.search(continues=1, space={"learning_rate": wb.LogRange(1.0, 2.0)}, trials=4, blocking=True)
    assert list(bench.trials["learning_rate"] >= 1) == [False] * 4 + [True] * 4
    ours = Reads.of(bench.presenter.session).trials_of(2)
    assert ours["trial"].tolist() == list(range(1, 9))  # those of both, as of the first
    with pytest.warns(UserWarning, match="8 trials"):
        bench.importance(search=2)


def test_manual_trials_teach_the_sampler(bench: wb.Workbench, flowers: wb.Task) -> None:
    space = {"learning_rate": wb.LogRange(1e-4, 1e-1)}
    for rate in np.geomspace(1e-4, 1e-1, 12):
        bench.run(BASE.replace(learning_rate=float(rate)))
    bench.run(BASE.replace(learning_rate=5.0))  # outside the space
    bench.run(BASE.replace(learning_rate=0.01, dropout=0.5))  # another configuration of what is not searched
    search = bench.search("tpe", space, BASE, trials=8, seed=2, blocking=True)
    assert search.progress.learned == 12
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=2, constant_liar=True), direction="maximize", study_name="workbench"
    )
    distribution = optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)
    for row in bench.trials.head(12).itertuples():
        study.add_trial(
            optuna.trial.create_trial(
                params={"learning_rate": row.learning_rate},
                distributions={"learning_rate": distribution},
                value=row.best_val_metric,
            )
        )
    theirs = [study.ask({"learning_rate": distribution}).params["learning_rate"] for _ in range(8)]
    assert list(bench.trials.tail(8)["learning_rate"]) == pytest.approx(theirs, rel=1e-12)


def test_planted_optimum_is_found_by_strategies_that_learn() -> None:
    """A quadratic over the log of the rate in place of training: the samplers must close in on its minimum."""
    for name in ("tpe", "gp", "cmaes"):
        arm = Arm(Space({"learning_rate": wb.LogRange(1e-5, 1.0)}, BASE), strategy(name), better="lower", seed=0)
        rates = []
        for number in range(40):
            suggestion = arm.ask(number, 1)
            assert suggestion is not None
            rate = suggestion.configs[0].learning_rate
            suggestion.trials, suggestion.values = [number], {number: (math.log10(rate) + 2) ** 2}
            arm.tell(suggestion)
            rates.append(rate)
        assert arm.best is not None
        assert abs(math.log10(arm.best.configs[0].learning_rate) + 2) < 0.1, name


def recorded(task: wb.Task) -> dict[int, list[EpochEnd]]:
    """Learning curves of twelve trials, good and bad, in the order in which a search would start them."""
    rng = np.random.default_rng(4)
    configs = {i: BASE.replace(epochs=9, learning_rate=float(10 ** rng.uniform(-5, -1)), seed=i) for i in range(12)}
    rows: dict[int, list[EpochEnd]] = {i: [] for i in configs}
    for event in wb.train(task, configs):
        if isinstance(event, EpochEnd):
            rows[event.trial].append(event)
    return rows


class Recorder:
    """Numbers for trials, in cohorts of four."""

    def __init__(self) -> None:
        self.numbers = itertools.count()

    def create(self, rows: Sequence[Any], call: Any) -> list[int]:
        return [next(self.numbers) for _ in rows]

    def note(self, call: Any) -> None: ...
    def shrunk(self, size: int) -> None: ...
    def ended(self, reason: str) -> None: ...
    def fits(self, config: wb.Config, wanted: int) -> int:
        return 4

    def is_up(self, up: bool) -> bool:
        return up

    def stopped(self) -> bool:
        return False


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_pruning_decisions_are_optunas(flowers: wb.Task, name: str) -> None:
    """Both are shown the same recorded curves, trials in groups of four, epoch by epoch."""
    curves = recorded(flowers)
    space = Space({"learning_rate": wb.LogRange(1e-5, 1e-1)}, BASE.replace(epochs=9))
    arm = Arm(space, strategy("random"), better="higher", seed=0, pruner=PRUNERS[name])
    campaign = Campaign(
        [arm], Budget(12), recorder=Recorder(), better="higher", check=lambda config: check(flowers, config)
    )
    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=0), direction="maximize", pruner=PRUNERS[name].make(9),
        study_name="workbench",
    )  # fmt: skip
    theirs: dict[int, int] = {}
    ours: dict[int, int] = {}
    pending: list[optuna.Trial] = [study.ask() for _ in range(12)]
    while cohort := campaign.next():
        alive = list(cohort)
        for epoch in range(9):
            moment = [curves[trial][epoch] for trial in alive]
            given_up = campaign.prune(moment)
            ours |= dict.fromkeys(given_up, epoch + 1)
            for trial in alive:
                pending[trial].report(curves[trial][epoch].val_metric, epoch + 1)
                if pending[trial].should_prune():
                    theirs[trial] = epoch + 1
            ended = [t for t in alive if t in given_up or epoch == 8]
            for trial in ended:
                state = TrialState.PRUNED if trial in given_up else TrialState.COMPLETED
                best = max(row.val_metric for row in curves[trial])
                campaign.handle(TrialEnded(trial, state, epoch + 1, 0, 1, 0.0, best, 0.0))
                if trial in theirs:
                    study.tell(pending[trial], state=optuna.trial.TrialState.PRUNED)
                else:
                    study.tell(pending[trial], best)
            alive = [t for t in alive if t not in ended]
    assert ours == theirs
    assert name == "patience" or ours, "nothing was pruned: the test shows nothing"


def test_pruned_trials_keep_their_curves(bench: wb.Workbench) -> None:
    space = {"learning_rate": wb.LogRange(1e-5, 1e-1)}
    search = bench.search("random", space, BASE.replace(epochs=9), trials=40, pruner="halving", seed=0, blocking=True)
    frame = bench.trials
    pruned = frame[frame["state"] == "pruned"]
    assert len(pruned) == search.progress.pruned > 0
    for row in pruned.itertuples():
        assert len(bench.curves(row.trial)) == row.epochs_run < 9
        assert row.reason.startswith(f"pruned after epoch {row.epochs_run}")


def test_rows_of_a_refilled_cohort_equal_the_trial_alone(flowers: wb.Task) -> None:
    """Trials of different lengths and optimizers leave and others join; each is the hand-written loop to 1e-10."""
    rng = np.random.default_rng(1)
    names = ["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad"]
    schedules = ["constant", "step", "exponential", "cosine", "cosine_restarts", "one_cycle", "plateau"]
    waiting = [
        BASE.replace(
            optimizer=names[i % 7], schedule=schedules[(i // 2) % 7], epochs=1 + i % 4, seed=i, step_size=1,
            restart_epochs=1, learning_rate=float(10 ** rng.uniform(-3, -1)), l1=float(rng.choice([0, 1e-3])),
            l2=float(rng.choice([0, 1e-2])), gradient_clip=[None, 0.5][i % 2], plateau_patience=0,
        )
        for i in range(28)
    ]  # fmt: skip
    prepared = [check(flowers, config) for config in waiting]

    class Feed:
        def __init__(self) -> None:
            self.at, self.joined = 0, 0

        def take(self, count: int) -> dict[int, wb.Config]:
            taken = {self.at + i: prepared[self.at + i] for i in range(min(count, len(prepared) - self.at))}
            self.at += len(taken)
            return taken

        def next(self) -> dict[int, wb.Config]:
            return self.take(6)

        def refill(self, training: int) -> dict[int, wb.Config]:
            more = self.take(6 - training)
            self.joined += len(more)
            return more

        def shrink(self, size: int) -> None: ...
        def prune(self, epochs: Any) -> dict[int, str]:
            # one trial is given up from outside
            return {e.trial: "given up" for e in epochs if e.trial == 3 and e.epoch == 2}

    feed = Feed()
    rows: dict[int, list[EpochEnd]] = {}
    for moment in Training(flowers, {}, dtype=torch.float64, supply=feed).moments():
        for event in moment:
            if isinstance(event, EpochEnd):
                rows.setdefault(event.trial, []).append(event)
    assert feed.joined > 15
    for trial, config in enumerate(prepared):
        plain = reference.train(config, flowers)
        assert len(rows[trial]) == (2 if trial == 3 else config.epochs)
        for ours, theirs in zip(rows[trial], plain, strict=False):
            for name, value in theirs.items():
                assert math.isclose(getattr(ours, name), value, rel_tol=1e-10, abs_tol=1e-10), (trial, name)


def test_one_rows_divergence_touches_no_other(bench: wb.Workbench) -> None:
    space = {"learning_rate": [1e-3, 10.0, 1e-2], "optimizer": ["sgd"], "loss": ["mse"], "activation": ["relu"]}
    base = BASE.replace(epochs=6, hidden_layers=4, hidden_units=64)
    bench.search("grid", space, base, blocking=True)
    states = dict(zip(bench.trials["learning_rate"], bench.trials["state"], strict=True))
    assert states == {1e-3: "completed", 10.0: "diverged", 1e-2: "completed"}


def test_seeds_of_a_setting_train_together_and_count_once(bench: wb.Workbench) -> None:
    search = bench.search("random", SPACE, BASE, trials=5, seeds=3, blocking=True)
    frame = bench.trials
    assert search.progress.done == 5
    assert len(frame) == 15
    assert sorted(frame["seed"].unique()) == [0, 1, 2]
    for _, group in frame.groupby("suggestion"):
        assert group["cohort"].nunique() == 1
        assert group["learning_rate"].nunique() == 1
        assert set(group["parent"].dropna()) == {group["trial"].min()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials=0: must be a whole number from 1"),
        ({"seconds": -1.0}, "seconds=-1.0"),
        ({"seeds": 0}, "seeds=0"),
        ({"pruner": "mediam"}, "pruner='mediam'.*did you mean 'median'"),
        ({"strategy": "randon"}, "strategy='randon'.*did you mean 'random'"),
        ({"continues": 9}, "search 9 is not in the log"),
        ({"base": wb.Config(batch_size=4096)}, "larger than the training split"),
    ],
)
def test_a_bad_request_leaves_no_trace(bench: wb.Workbench, options: dict[str, Any], message: str) -> None:
    with pytest.raises(wb.WorkbenchError, match=message):
        bench.search(**{"space": SPACE, **options})
    assert bench.trials.empty
    assert bench.searches.empty


def test_a_trial_that_raises_is_failed_and_the_others_go_on(bench: wb.Workbench) -> None:
    def build(task: Any, *, width: Any = wb.IntRange(1, 8)) -> torch.nn.Module:
        class Fragile(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = torch.nn.Linear(6, 3)
                self.steps = 0

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                self.steps += self.training
                if width == 3 and self.steps > 8:
                    raise ValueError("planted: width 3 cannot go on")
                return self.layer(x) + 0 * width

        if width == 5:
            raise RuntimeError("planted: no width 5")
        return Fragile()

    wb.register_model("fragile", build)
    try:
        base = BASE.replace(model="fragile", width=1)
        bench.search("grid", {"width": [1, 3, 5, 7], "learning_rate": [0.01, 0.02]}, base, blocking=True)
    finally:
        from workbench.core.registry import MODELS

        MODELS.unregister("fragile")
    frame = bench.trials.set_index(["width", "learning_rate"])
    assert (frame.loc[[1, 7], "state"] == "completed").all()
    assert (frame.loc[[3, 5], "state"] == "failed").all()
    assert "planted: no width 5" in bench.log.traceback(int(frame.loc[(5, 0.01), "trial"]))
    assert "planted: width 3" in bench.log.traceback(int(frame.loc[(3, 0.01), "trial"]))
    assert frame.loc[(3, 0.01), "epochs_run"] == 1  # what it told before it raised is kept


def test_a_cohort_out_of_memory_is_halved_and_told(bench: wb.Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.training.cohort import Cohort

    plain, sizes = Cohort.step, []

    def step(self: Cohort, x: torch.Tensor, y: torch.Tensor, counts: None = None) -> Any:
        sizes.append(len(self.rows))
        if len(self.rows) > 4 and self.rows[0].step >= 7:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory")
        return plain(self, x, y)

    monkeypatch.setattr(Cohort, "step", step)
    bench.search("random", SPACE, BASE, trials=12, cohort=12, blocking=True)
    monkeypatch.undo()
    frame = bench.trials
    assert list(frame["state"]) == ["completed"] * 12
    assert (frame["epochs_run"] == 2).all()
    assert 12 in sizes
    assert sizes[-1] <= 4
    remarks = bench.events().query("kind == 'message'")["message"]
    assert remarks.str.contains("12 trials did not fit into memory together").any()
    again = wb.Workbench(bench.task)
    again.search("random", SPACE, BASE, trials=12, cohort=4, blocking=True)
    torch.testing.assert_close(
        torch.tensor(frame.sort_values("suggestion")["val_loss"].to_numpy()),
        torch.tensor(again.trials.sort_values("suggestion")["val_loss"].to_numpy()),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip


def test_stop_leaves_every_trial_a_true_final_state(bench: wb.Workbench) -> None:
    search = bench.search("random", SPACE, BASE.replace(epochs=100_000), trials=40, cohort=8)
    until(lambda: len(search.trials) == 8 and len(bench.curves()) >= 8)
    search.stop()
    search.wait(60)
    frame = bench.trials
    assert set(frame["state"]) == {"stopped"}
    assert len(frame) == 8
    assert (frame["epochs_run"] >= 1).all()
    assert (search.progress.done, search.progress.stopped) == (0, 8)
    assert repr(search) == "<Search 1 (random), stopped: 0 of 40 configurations done>"


def test_pause_and_resume(bench: wb.Workbench) -> None:
    search = bench.search("random", SPACE, BASE.replace(epochs=300), trials=4, cohort=4)
    search.pause()
    until(lambda: search.paused)
    search.resume()
    assert search.wait(60).done
    assert set(bench.trials["state"]) == {"completed"}


def test_its_clock_stands_while_it_is_paused_and_after_its_end(
    bench: wb.Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("workbench.methods.search.campaign.time", SimpleNamespace(monotonic=lambda: now[0]))
    search = bench.search("random", SPACE, BASE.replace(epochs=300), seconds=50, trials=6, cohort=2)
    search.pause()
    until(lambda: search.paused)
    now[0] += 100
    assert search.progress.seconds == 0
    assert search.progress.seconds_left == 50
    search.resume()
    until(lambda: not search.paused)
    now[0] += 7
    assert search.wait(60).progress.done == 6  # its time was not up
    now[0] += 100
    assert search.progress.seconds == 7


def test_what_keeps_settings_apart_is_known_before(bench: wb.Workbench) -> None:
    ranges = {**SPACE, "dropout": wb.Range(0.0, 0.5), "label_smoothing": wb.Range(0.0, 0.2)}
    base = BASE.replace(loss="cross_entropy")
    assert unstackable_fields(base, ranges) == ["dropout", "label_smoothing"]
    few = {**SPACE, "dropout": [0.0, 0.2], "hidden_units": wb.IntRange(4, 8)}
    assert unstackable_fields(base, Space(few, base)) == []
    bench.search("random", ranges, base, trials=4, blocking=True)
    assert bench.trials["cohort"].nunique() == 4
    bench.search("random", {**SPACE, "dropout": [0.2, 0.4]}, base, trials=8, blocking=True)
    assert bench.trials["cohort"].nunique() == 4 + 2


def test_a_search_learns_nothing_from_altered_trials(bench: wb.Workbench) -> None:
    base = BASE.replace(l2=1e-4)
    bench.run(base)
    bench.run(base.replace(seed=1), changes=[(2, "learning_rate", 1e-6)])
    bench.branch(1, epoch=1, learning_rate=0.05).wait(60)
    search = bench.search("tpe", SPACE, base, trials=1, blocking=True)
    assert search.progress.learned == 1


def test_a_search_waits_for_the_run_before_it(bench: wb.Workbench) -> None:
    run = bench.start(BASE.replace(epochs=100_000))
    search = bench.search("random", SPACE, BASE, trials=3)
    assert bench.active == [run, search]
    assert "queued" in repr(search)
    run.stop()
    assert search.wait(60).progress.done == 3


def test_budget_of_seconds_and_of_patience(bench: wb.Workbench) -> None:
    search = bench.search("random", SPACE, BASE, seconds=0.5, cohort=4, blocking=True)
    assert search.progress.done > 0
    assert search.progress.planned is None
    rates = {"learning_rate": wb.LogRange(1e-6, 2e-6)}  # at which nothing changes
    stuck = bench.search("random", rates, BASE, no_improvement=6, cohort=2, blocking=True)
    # patience counts configurations without a better one; those already training are brought to their end
    assert 6 <= stuck.progress.done <= 12


def test_a_hopeless_search_ends_with_the_reason(bench: wb.Workbench) -> None:
    def build(task: Any) -> torch.nn.Module:
        model = torch.nn.Linear(6, 3)
        if threading.current_thread() is not threading.main_thread():
            raise OSError("planted: no such file")
        return model

    wb.register_model("broken", build)
    try:
        with pytest.raises(wb.RunError, match="first 8 trials.*all failed.*planted: no such file"):
            bench.search("random", SPACE, BASE.replace(model="broken"), trials=200, cohort=8, blocking=True)
    finally:
        from workbench.core.registry import MODELS

        MODELS.unregister("broken")
    assert set(bench.trials["state"]) == {"failed"}
    assert len(bench.trials) == 8


def test_models_that_cannot_be_stacked_train_one_after_another_and_say_so(bench: wb.Workbench) -> None:
    def build(task: Any) -> torch.nn.Module:
        class Branching(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = torch.nn.Linear(6, 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                y = self.layer(x)
                return y if float(y.detach().sum()) > -1e9 else -y

        return Branching()

    wb.register_model("branching", build)
    try:
        bench.search("random", SPACE, BASE.replace(model="branching"), trials=4, cohort=4, blocking=True)
    finally:
        from workbench.core.registry import MODELS

        MODELS.unregister("branching")
    assert set(bench.trials["state"]) == {"completed"}
    assert bench.events().query("kind == 'message'")["message"].str.contains("cannot be vectorised").all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_fair_comparison_tunes_each_value_and_decides_by_fresh_seeds(bench: wb.Workbench) -> None:
    nuisance = {"learning_rate": wb.LogRange(1e-4, 1)}
    comparison = bench.compare("optimizer", ["sgd", "adam"], nuisance=nuisance, base=BASE, trials=6, seeds=3)
    table = comparison.wait(60).table
    frame = bench.trials
    assert list(table["configurations"]) == [6, 6]
    assert list(table["seeds"]) == [3, 3]
    # the same draws for both, so that none had the luckier ones
    draws = (
        frame[frame["source"] == "random"].sort_values("suggestion").groupby("optimizer")["learning_rate"].apply(list)
    )
    assert draws["sgd"] == draws["adam"]
    finals = frame[frame["source"] == "replicate"]
    assert set(finals["seed"]) == {1, 2, 3}
    for optimizer, group in finals.groupby("optimizer"):
        tuned = frame[(frame["optimizer"] == optimizer) & (frame["source"] == "random")]
        best = tuned.sort_values(["best_val_metric", "trial"], ascending=[False, True]).iloc[0]
        assert set(group["learning_rate"]) == {best["learning_rate"]}
        mean = table.set_index("optimizer").loc[optimizer, "mean"]
        assert mean == pytest.approx(group["best_val_metric"].mean())
    assert comparison.figure()._repr_png_()[:4] == b"\x89PNG"


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_fair_comparison_of_cross_validated_values_is_decided_by_the_folds(seeds: int) -> None:
    """The corrected resampled t-test and its interval, written out (Nadeau and Bengio 2003)."""
    X = np.random.default_rng(0).normal(size=(90, 3))
    task = wb.Task.from_arrays(X, (X[:, 0] + X[:, 1] ** 2 > 1).astype(int), split=wb.Split.folds(4, test=0.2))
    bench = wb.Workbench(task)
    options: dict[str, Any] = {"nuisance": {"learning_rate": [1e-3, 1e-2]}, "base": BASE, "trials": 2, "seeds": seeds}
    table = bench.compare("optimizer", ["sgd", "adam"], **options).wait(60).table
    finals = bench.trials[bench.trials["source"] == "replicate"]
    epochs = bench.log.history.folds(*finals["trial"]).merge(finals[["trial", "optimizer", "best_epoch"]])
    epochs = epochs[epochs["epoch"] == epochs["best_epoch"]]
    folds = epochs.groupby(["optimizer", "fold"])["val_accuracy"].mean().unstack("fold")
    best, other = (folds.loc[name].to_numpy() for name in table["optimizer"])
    ratio = 1 / 4 + 1 / 3  # of the mean of four folds, and validation by training rows

    def error(values: np.ndarray) -> float:
        return float(np.sqrt(ratio * values.var(ddof=1)))

    wanted = 2 * stats.t.sf(abs((other - best).mean()) / error(other - best), 3)
    assert table["p_value"].iloc[1] == pytest.approx(wanted)
    assert table["high"].iloc[0] - table["mean"].iloc[0] == pytest.approx(stats.t.ppf(0.975, 3) * error(best))


def test_pruning_settings_whose_seeds_do_not_train_together(bench: wb.Workbench) -> None:
    class Odd(torch.nn.Module):
        def __init__(self, task: wb.Task) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(task.input_shape[0], task.output_size)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) * (1 if float(x.sum()) > -1e9 else 2)  # cannot be vectorised

    wb.register_model("odd", lambda task: Odd(task))
    try:
        base = wb.Config(model="odd", batch_size=16, epochs=6)
        space = {"learning_rate": wb.LogRange(1e-5, 1e-1)}
        bench.search("random", space, base, trials=8, seeds=2, pruner="halving", blocking=True)
        assert bench.trials["state"].isin(["completed", "pruned", "diverged"]).all()
    finally:
        MODELS.unregister("odd")


def test_a_continuation_is_continued(flowers: wb.Task) -> None:
    bench, whole = wb.Workbench(flowers), wb.Workbench(flowers)
    whole.search("random", SPACE, BASE, trials=9, seed=4, cohort=3, blocking=True)
    first = bench.search("random", SPACE, BASE, trials=3, seed=4, cohort=3, blocking=True)
    second = bench.search(continues=first, trials=3, cohort=3, blocking=True)
    bench.search(continues=np.int64(second.number), trials=3, cohort=3, blocking=True)
    assert bench.trials["suggestion"].tolist() == list(range(9))
    assert bench.trials["learning_rate"].tolist() == whole.trials["learning_rate"].tolist()


@pytest.mark.parametrize("error", [RuntimeError("a passing fault"), KeyError("rows"), ValueError("of the model")])
def test_a_fault_while_cohorts_are_measured_is_logged_and_not_remembered(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    capacity = importlib.import_module("workbench.training.capacity")
    real, calls = capacity.row_bytes, []

    def once(*arguments: Any) -> int:
        calls.append(arguments)
        if len(calls) == 1:
            raise error
        return int(real(*arguments))

    monkeypatch.setattr(capacity, "row_bytes", once)
    bench = wb.Workbench(wb.Task.load("iris"))
    space, base = {"learning_rate": wb.LogRange(1e-3, 1e-1)}, wb.Config(epochs=1)
    first = bench.search("random", space, base, trials=4).wait()
    messages = bench.events(first.trials[0]).query("kind == 'message'")["message"]
    assert messages.str.contains(f"measuring how many trials fit together raised {type(error).__name__}").any()
    second = bench.search("random", space, base, trials=4, seed=1).wait()
    assert len(calls) > 1
    assert bench.trials.set_index("trial").loc[list(second.trials), "cohort"].nunique() == 1
