"""Ensembles of the folds of cross-validated trials: the mean of the folds' models, each with its own preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sk

import workbench as wb
from workbench.methods.ensembles.selection import Scorer
from workbench.tasks.test_split import open_by_fold, open_seal

RNG = np.random.default_rng(4)
ROWS = 150
X = RNG.normal(5, 3, (ROWS, 4))
CLASSES = np.where(X[:, 0] + RNG.normal(0, 2, ROWS) > 5, "yes", "no")
MILLIONS = 1e6 * (X[:, 1] + X[:, 2]) + RNG.normal(0, 1e5, ROWS)
FRAME = pd.DataFrame(X, columns=list("abcd")).assign(city=RNG.choice(["north", "south"], ROWS))
NEW = RNG.normal(5, 3, (20, 4))
CONFIG = wb.Config(epochs=2, hidden_layers=1, hidden_units=8, learning_rate=0.02, batch_size=16)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folds")


@pytest.fixture(scope="module")
def bench(place: Path) -> wb.Workbench:
    """Two cross-validated trials; folds of 40 rows each."""
    made = wb.Workbench(wb.Task.from_arrays(X, CLASSES, name="folds", split=wb.Split.folds(3)), place / "trials.db")
    made.run(CONFIG)
    made.run(CONFIG.replace(hidden_units=16, learning_rate=0.01))
    return made


def mean_by_hand(bench: wb.Workbench, trials: list[int], data: Any, answer: str = "predict_proba") -> np.ndarray:
    folds = range(1, len(bench.task.folds) + 1)  # type: ignore[arg-type]
    said = [getattr(bench.model(trial, fold=fold), answer)(data) for trial in trials for fold in folds]
    found: np.ndarray = np.mean(said, axis=0)
    return found


def test_one_trial_is_the_mean_of_its_folds(bench: wb.Workbench, place: Path) -> None:
    ensemble = bench.ensemble(trials=[1])
    wanted = mean_by_hand(bench, [1], NEW)
    assert ensemble.predict_proba(NEW) == pytest.approx(wanted, abs=1e-12)
    assert (ensemble.predict(NEW) == np.array(["no", "yes"])[wanted.argmax(1)]).all()
    prepared = ensemble.preprocess(NEW)
    assert len(prepared) == 3
    assert not np.allclose(prepared[0], prepared[1])  # each by its own scale
    assert ensemble(prepared).detach().numpy() == pytest.approx(wanted, abs=1e-6)
    number = ensemble.number or 0
    loaded: Any = wb.load_model(bench.save(ensemble, place / "folds.pt"))
    for again in (bench.load_ensemble(number), loaded, wb.load_model(bench.save(loaded, place / "again.pt"))):
        assert np.array_equal(again.predict_proba(NEW), ensemble.predict_proba(NEW))
        assert again.members == ensemble.members  # type: ignore[union-attr]


def test_its_score_is_that_of_its_trial_and_is_called_out_of_fold(bench: wb.Workbench) -> None:
    ensemble = bench.ensemble(trials=[1])
    trial = bench.trials.set_index("trial").loc[1]
    assert ensemble.val_metric == pytest.approx(trial["best_val_metric"], abs=1e-9)
    assert ensemble.val_loss == pytest.approx(trial["best_val_loss"], rel=1e-5)
    folds = bench.log.history.folds(1)
    at_best = folds[folds["epoch"] == trial["best_epoch"]]["val_accuracy"]
    assert [member.score for member in ensemble.members] == pytest.approx(list(at_best))
    assert [(member.trial, member.fold) for member in ensemble.members] == [(1, 1), (1, 2), (1, 3)]
    assert sum(member.weight for member in ensemble.members) == pytest.approx(1)
    assert "of 3 folds of 1 trial (1) on 'folds'" in repr(ensemble)
    assert "out-of-fold" in repr(ensemble)
    assert f"out-of-fold, the mean of 3 folds ({ensemble.facts.rows} rows)" in " ".join(ensemble.description)
    assert list(ensemble.table["who"][:3]) == ["trial 1, fold 1", "trial 1, fold 2", "trial 1, fold 3"]
    assert bench.ensembles.loc[bench.ensembles["ensemble"] == ensemble.number, "trials"].item() == (1,)
    assert ensemble.figure().axes


def test_several_trials_are_chosen_and_scored_out_of_fold(bench: wb.Workbench) -> None:
    for ensemble in (bench.ensemble(top=2), bench.ensemble(trials=[2, 1]), bench.ensemble(select="greedy", size=3)):
        votes = {member.trial: member.votes for member in ensemble.members}
        scores = []
        for number, member in enumerate(bench.task.folds.members, 1):  # type: ignore[union-attr]
            rows = member.row_numbers["validation"]
            said = sum(count * bench.model(trial, fold=number).predict_proba(X[rows]) for trial, count in votes.items())
            scores.append(sk.accuracy_score(CLASSES[rows] == "yes", np.argmax(said, axis=1)))
        assert ensemble.val_metric == pytest.approx(np.mean(scores))
    both = bench.ensemble(trials=[1, 2])
    assert len(both.members) == 6
    assert both.predict_proba(NEW) == pytest.approx(mean_by_hand(bench, [1, 2], NEW))
    assert "of 3 folds of 2 trials (1, 2)" in repr(both)


def test_the_test_set_is_answered_by_all_folds(bench: wb.Workbench) -> None:
    ensemble = bench.ensemble(trials=[1])
    assert bench.task.folds is not None
    outside = {row for member in bench.task.folds.members for part in member.row_numbers.values() for row in part}
    test = sorted(set(range(ROWS)) - outside)
    assert len(test) == bench.task.sizes["test"]
    result = bench.open_test_set(ensemble)
    predicted = np.array(["no", "yes"])[mean_by_hand(bench, [1], X[test]).argmax(1)]
    assert result.score == pytest.approx((predicted == CLASSES[test]).mean())
    assert result.validation == pytest.approx(ensemble.val_metric)
    assert result.rows == len(test)


def coded(task: Any) -> torch.nn.Module:
    """Numbers and codes of a table."""

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)
            self.embedding = torch.nn.Embedding(task.categories["city"], 1)

        def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.layer(numbers) + self.embedding(codes)[:, 0]
            return found

    return Net()


@pytest.mark.parametrize("kind", ["table", "codes", "pictures"])
def test_numbers_are_averaged_in_their_own_unit_whatever_the_inputs(kind: str, tmp_path: Path) -> None:
    data: Any = RNG.integers(0, 256, (ROWS, 1, 4, 4), dtype=np.uint8) if kind == "pictures" else FRAME
    split, models = wb.Split.folds(3), {"coded": coded} if kind == "codes" else None
    if kind == "pictures":
        task = wb.Task.from_arrays(data, MILLIONS, split=split)
    else:
        categories = "codes" if kind == "codes" else "one_hot"
        task = wb.Task.from_frame(FRAME.assign(goal=MILLIONS), "goal", split=split, categories=categories)
    bench = wb.Workbench(task, models=models)
    bench.run(wb.Config(epochs=2, model="coded", learning_rate=0.02) if kind == "codes" else CONFIG)
    ensemble = bench.ensemble(trials=[1])
    wanted = mean_by_hand(bench, [1], data, "predict")
    assert ensemble.predict(data) == pytest.approx(wanted, rel=1e-5)
    assert ensemble.val_metric == pytest.approx(bench.trials["best_val_metric"][0], rel=1e-5)
    loaded = wb.load_model(bench.save(ensemble, tmp_path / "numbers.pt"), models=models)
    assert np.array_equal(loaded.predict(data), ensemble.predict(data))
    result = bench.open_test_set(ensemble)
    rows = [int(np.flatnonzero(value == MILLIONS)[0]) for value in open_seal(task).target[:, 0].numpy()]
    assert result.score == pytest.approx(sk.r2_score(MILLIONS[rows], wanted[rows]), rel=1e-5)


def test_scores_over_folds_are_the_means_of_each_fold() -> None:
    answers, targets = RNG.random((3, 30, 2)), RNG.integers(0, 2, 30)
    answers /= answers.sum(2, keepdims=True)
    counts = RNG.integers(0, 3, (5, 30)).astype(float)
    parts = [slice(0, 11), slice(11, 20), slice(20, 30)]
    for metric in ("accuracy", "roc_auc"):
        scores, losses = Scorer(targets, metric, folds=parts)(answers, counts)
        each = [Scorer(targets[part], metric)(answers[:, part], counts[:, part]) for part in parts]
        assert scores == pytest.approx(np.mean([one[0] for one in each], axis=0))
        assert losses == pytest.approx(np.mean([one[1] for one in each], axis=0))


def test_rows_of_one_fold_only_and_changed_data_are_rejected(bench: wb.Workbench) -> None:
    ensemble = bench.ensemble(trials=[1])
    with pytest.raises(wb.TaskError, match=r"each fold has its own; give ensemble\.preprocess"):
        ensemble.predictions(bench.task.validation.x)
    data = X.copy()
    task = wb.Task.from_arrays(data, CLASSES, split=wb.Split.folds(3))
    assert [len(x) for x in open_by_fold(task)] == [task.sizes["test"]] * 3
    data += 1
    with pytest.raises(wb.TaskError, match="changed in place"):
        open_by_fold(task)


def test_a_trial_of_folds_is_not_opened_by_itself(bench: wb.Workbench) -> None:
    with pytest.raises(wb.RunError, match=r"the test set needs one; bench.refit\(1\) .*bench.ensemble\(trials=\[1\]\)"):
        bench.open_test_set(1)
    with pytest.raises(wb.RunError, match=r"bench.ensemble\(trials=\[1\]\) is an ensemble of the folds"):
        bench.predict(1, NEW)
