"""Inputs that are no plain float32 tensor: images of uint8, tokens, several inputs, and codes of categories."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import workbench as wb
from workbench.core.errors import ModelError, TaskError
from workbench.tasks import Task
from workbench.tasks.rows import InputRows
from workbench.tasks.test_split import open_seal

ROWS = 150
RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (ROWS, 3, 4, 4), dtype=np.uint8)
IDS = RNG.integers(0, 40, (ROWS, 6))
TABLE = RNG.normal(size=(ROWS, 3)) * [1, 10, 100]
Y = (IDS[:, 0] > 19).astype(int)


GIVEN = wb.Split.given(train=np.arange(90), validation=np.arange(90, 120), test=np.arange(120, ROWS))
"""The same rows train whatever the inputs are; at random it would depend on these."""


def stored(task: Task) -> InputRows:
    assert isinstance(task.train.x, InputRows)
    return task.train.x


# --- images of uint8 --------------------------------------------------------------------------------------------------

UINT8 = {
    "colour": IMAGES,
    "grey": IMAGES[:, :1],
    "sequence": IMAGES[:, 0],
    "volume": IMAGES[:, :, None],
    "flat": RNG.integers(0, 256, (ROWS, 300), dtype=np.uint8),
    "transposed": IMAGES.transpose(0, 1, 3, 2),
}


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("name", UINT8)
def test_uint8_stays_uint8_and_gives_the_numbers_of_float64(name: str, standardize: bool) -> None:
    images = UINT8[name]
    task, plain = (Task.from_arrays(X, Y, standardize=standardize) for X in (images, images.astype(float)))
    assert stored(task).dtype == torch.uint8
    assert task.fingerprint == plain.fingerprint
    for split, other in (
        (task.train, plain.train),
        (task.validation, plain.validation),
        (open_seal(task), open_seal(plain)),
    ):
        assert isinstance(split.x, InputRows)
        assert isinstance(other.x, Tensor)
        assert torch.equal(split.x.ready(), other.x)
    for rows in (images[:7], images[:7].astype(float)):
        assert torch.equal(task.preprocess(rows), plain.preprocess(rows))


@pytest.mark.parametrize("options", [{"clip": 2.0}, {"transform": "scaler"}])
def test_what_is_more_than_scaling_is_done_beforehand(options: dict[str, Any]) -> None:
    from sklearn.preprocessing import MinMaxScaler

    options = {name: MinMaxScaler() if value == "scaler" else value for name, value in options.items()}
    task, plain = (Task.from_arrays(X, Y, **options) for X in (IMAGES, IMAGES.astype(float)))
    assert isinstance(task.train.x, Tensor)
    assert torch.equal(task.train.x, plain.train.x)


@pytest.mark.parametrize("seeds", [1, 3])
def test_training_on_uint8_is_training_on_the_same_numbers(seeds: int, tmp_path: Path) -> None:
    """Alone and as a cohort; the model that is handed out, saved and read again answers the same."""
    config = wb.Config(model="cnn", blocks=1, channels=4, epochs=2)
    found = []
    for number, images in enumerate((IMAGES, IMAGES.astype(float))):
        bench = wb.Workbench(Task.from_arrays(images, Y))
        bench.start(config, seeds=seeds).wait()
        model = bench.model(1)
        loaded = wb.load_model(bench.save(1, tmp_path / f"{number}.pt"))
        assert torch.equal(loaded.outputs(bench.task.validation.x), model.outputs(bench.task.validation.x))
        raw = images[:50]
        np.testing.assert_array_equal(model.predict_proba(raw), loaded.predict_proba(raw.astype(float)))
        with torch.no_grad():
            np.testing.assert_allclose(
                model(bench.task.validation.x), model.outputs(bench.task.validation.x), atol=1e-6
            )
        found.append((bench.trials["best_val_loss"].tolist(), model.predict_proba(raw)))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_weights_of_rows_count_the_same_for_uint8() -> None:
    weights = np.where(np.arange(ROWS) % 3, 1.0, 2.0)
    found = []
    for images in (IMAGES, IMAGES.astype(float)):
        bench = wb.Workbench(Task.from_arrays(images, Y, weights=weights))
        bench.start(wb.Config(model="cnn", blocks=1, channels=4, epochs=2), seeds=2).wait()
        found.append(bench.trials["best_val_loss"].tolist())
        validation, model = bench.task.validation, bench.model(1)
        assert validation.weight is not None
        losses = nn.functional.cross_entropy(model.outputs(validation.x), validation.y, reduction="none").double()
        mean = float((losses * validation.weight).sum() / validation.weight.sum())
        assert found[-1][0] == pytest.approx(mean, rel=1e-5)
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", ["uint8", "tokens", "several"])
def test_a_refit_learns_from_both_splits(kind: str) -> None:
    """The scale of the pictures is that of training and validation rows together; tokens stay as they are."""
    raw = {"uint8": IMAGES, "tokens": IDS, "several": RAW}[kind]
    task = (
        several() if kind == "several" else Task.from_arrays(raw, Y, inputs="tokens" if kind == "tokens" else "numbers")
    )
    own = {
        "uint8": lambda task: nn.Sequential(nn.Flatten(), nn.Linear(48, 2)),
        "tokens": lambda task: Bag(task.categories["tokens"]),
        "several": build,
    }
    bench = wb.Workbench(task, models={"own": own[kind]})
    bench.run(wb.Config(model="own", epochs=2))
    bench.refit(1).wait()
    batch = bench.model(2).preprocess(raw)
    found = batch["image"] if isinstance(batch, dict) else batch
    if kind == "tokens":
        np.testing.assert_array_equal(found, IDS)
    else:
        rows = np.concatenate([bench.task.row_numbers[name] for name in ("train", "validation")])
        seen = IMAGES[rows].astype(float)
        mean, spread = seen.mean((0, 2, 3), keepdims=True), seen.std((0, 2, 3), keepdims=True)
        np.testing.assert_allclose(found, (IMAGES - mean) / spread, atol=1e-5)
    assert bench.open_test_set(2).score >= 0


# --- tokens -----------------------------------------------------------------------------------------------------------


class Bag(nn.Module):
    """The mean of embeddings; fails for anything but int64."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(size, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.embedding(x).mean(1))
        return outputs


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int16, np.uint64, object])
def test_tokens_are_kept_as_they_are(dtype: Any) -> None:
    task = Task.from_arrays(IDS.astype(dtype), Y, inputs="tokens")
    assert isinstance(task.train.x, Tensor)
    assert task.train.x.dtype == torch.int64
    assert (task.inputs, task.categories, task.input_shape) == ("tokens", {"tokens": 40}, (6,))
    np.testing.assert_array_equal(task.train.x, IDS[task.row_numbers["train"]])
    assert "tokens, kept as they are, below 40" in task.summary()["value"].tolist()
    np.testing.assert_array_equal(task.preprocess(IDS[:5]), IDS[:5])


@pytest.mark.parametrize("offset", [2**24, 2**53, 2**62])
def test_large_tokens_are_all_different(offset: int) -> None:
    ids = offset + np.arange(ROWS)[:, None]
    task = Task.from_arrays(ids, Y, inputs="tokens")
    assert set(task.train.x.ravel().tolist()) == set(ids[task.row_numbers["train"]].ravel().tolist())
    assert len({key for keys in task.row_keys.values() for key in keys.tolist()}) == ROWS
    assert task.fingerprint != Task.from_arrays(ids + (np.arange(ROWS) == 7)[:, None], Y, inputs="tokens").fingerprint


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (IDS * 1.0, r"X has the type float64: tokens are whole numbers .*; convert them: X.astype\('int64'\)"),
        (torch.tensor(IDS).half(), "X has the type float16"),
        (IDS > 3, "X has the type bool: tokens are whole numbers from 0 on"),
        (IDS.astype(str), "X has the type <U"),
        (IDS - 1, "X has a token -1 below 0: .*add 1 to the others"),
        (np.full((ROWS, 2), 2**63, dtype=np.uint64), "X has a token 9223372036854775808, which no int64 holds"),
        (IDS[:, 0], r"X has the shape \(150,\); tokens need one row per example"),
        ([[1, 2], [3]] * 75, "X: its rows have different lengths"),
    ],
)
def test_what_is_no_token(ids: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.from_arrays(ids, Y, inputs="tokens")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": "token"}, "inputs='token': must be 'numbers' or 'tokens'; did you mean 'tokens'"),
        ({"inputs": 3}, "inputs=3: must be 'numbers' or 'tokens'"),
        ({"inputs": {"ids": "tokens"}}, "inputs=.*names several inputs, and X is only one"),
        ({"inputs": "tokens", "clip": 3}, "clip=3: tokens are passed on as they are"),
        ({"inputs": "tokens", "transform": wb}, "transform=.*: tokens are passed on as they are"),
        ({"categories": "codes"}, "categories='codes': is for tables"),
        ({"categories": "code"}, "categories='code': must be 'one_hot' or 'codes'; did you mean 'codes'"),
    ],
)
def test_options_of_inputs_that_cannot_be_used(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.from_arrays(IDS, Y, **options)


def test_a_model_of_tokens_trains_in_a_cohort_as_it_does_alone() -> None:
    bench = wb.Workbench(
        Task.from_arrays(IDS, Y, inputs="tokens"), models={"bag": lambda task: Bag(task.categories["tokens"])}
    )
    config = wb.Config(model="bag", epochs=3, learning_rate=0.03)
    bench.start(config, seeds=3).wait()
    for seed in range(3):
        bench.run(config.replace(seed=seed))
    losses = bench.trials["best_val_loss"].to_numpy()
    np.testing.assert_allclose(losses[:3], losses[3:], rtol=1e-5)
    assert len(set(losses[:3].tolist())) == 3
    assert bench.model(1).predict(IDS[:9]).shape == (9,)
    assert bench.layers(1).views


@pytest.mark.parametrize("model", ["mlp", "cnn"])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Task.from_arrays(IDS, Y, inputs="tokens"), "has tokens; .*nn.Embedding.task.categories..tokens"),
        (lambda: Task.from_arrays({"a": TABLE, "b": IDS}, Y, inputs={"b": "tokens"}), r"forward\(self, a, b\)"),
        (lambda: Task.from_frame(make_frame(), "y", categories="codes"), "or make the task with categories='one_hot'"),
    ],
)
def test_built_in_models_name_what_takes_such_inputs(model: str, make: Any, says: str) -> None:
    with pytest.raises(ModelError, match=f"model='{model}': takes one input of numbers, .*{says}"):
        wb.Workbench(make()).run(wb.Config(model=model, epochs=1))


@pytest.mark.parametrize("layer", [nn.Embedding, nn.EmbeddingBag])
def test_an_embedding_of_standardized_numbers_names_the_remedy(layer: Any) -> None:
    bench = wb.Workbench(Task.from_arrays(IDS, Y), models={"own": lambda task: nn.Sequential(layer(50, 2))})
    with pytest.raises(ModelError, match="standardized numbers: make the task with inputs='tokens'"):
        bench.run(wb.Config(model="own", epochs=1))


# --- several inputs ---------------------------------------------------------------------------------------------------


class Several(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.image, self.table, self.ids = nn.Conv2d(3, 2, 3), nn.Linear(3, 2), nn.Embedding(size, 2)
        self.head = nn.Linear(6, 2)

    def forward(self, *, image: Tensor, table: Tensor, ids: Tensor) -> Tensor:
        parts = self.image(image).mean((2, 3)), self.table(table).tanh(), self.ids(ids).mean(1)
        outputs: Tensor = self.head(torch.cat(parts, 1))
        return outputs


RAW = {"image": IMAGES, "table": TABLE, "ids": IDS}


def several(**options: Any) -> Task:
    return Task.from_arrays(RAW, Y, inputs={"ids": "tokens"}, **options)


def build(task: Any) -> nn.Module:
    return Several(task.categories["ids"])


def test_each_input_is_standardized_by_its_own_rule() -> None:
    task = several(split=GIVEN)
    assert task.input_shape == {"image": (3, 4, 4), "table": (3,), "ids": (6,)}
    assert task.inputs == {"image": "numbers", "table": "numbers", "ids": "tokens"}
    batch = stored(task).ready()
    assert isinstance(batch, dict)
    alone = {name: Task.from_arrays(RAW[name], Y, split=GIVEN) for name in ("image", "table")}
    own = task.row_numbers["train"].argsort()
    for name, one in alone.items():
        values = one.train.x.ready() if isinstance(one.train.x, InputRows) else one.train.x
        assert torch.equal(batch[name][own], values[one.row_numbers["train"].argsort()])
    np.testing.assert_array_equal(batch["ids"], IDS[task.row_numbers["train"]])
    assert any("table: standardized per feature" in line for line in task.summary()["value"])


def test_several_inputs_train_alone_and_together_as_a_plain_loop_does() -> None:
    """In float64 and at 1e-10: the loop is PyTorch's own, on the same order of rows."""
    from workbench.training import train

    task = several()
    wb.register_model("several", build)
    config = wb.Config(model="several", epochs=2, batch_size=30, learning_rate=0.05, optimizer="sgd", momentum=0.0)
    events = list(train(task, {0: config, 1: config.replace(seed=1)}, dtype=torch.float64))
    alone = list(train(task, {0: config}, dtype=torch.float64))
    wanted = plain_loop(task, config)
    assert not [event for event in events if type(event).__name__ == "Message"]  # stacked, not one after another
    for found in (events, alone):
        losses = [event.val_loss for event in found if type(event).__name__ == "EpochEnd" and event.trial == 0]
        np.testing.assert_allclose(losses, wanted, rtol=1e-10)


def plain_loop(task: Task, config: wb.Config) -> list[float]:
    from workbench.models import build_model
    from workbench.training.state import ORDER_SEED

    model = build_model(task, config).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=config.learning_rate)
    generator = torch.Generator().manual_seed(config.seed + ORDER_SEED)
    x, y = stored(task).ready(torch.float64), task.train.y
    x_val, losses = task.validation.x.ready(torch.float64), []  # type: ignore[union-attr]
    assert isinstance(x, dict)
    for _ in range(config.epochs):
        for rows in torch.randperm(len(y), generator=generator).split(config.batch_size):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(**{name: part[rows] for name, part in x.items()}), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            losses.append(float(nn.functional.cross_entropy(model(**x_val), task.validation.y)))
    return losses


def test_a_model_of_several_inputs_is_saved_opened_and_exported(tmp_path: Path) -> None:
    bench = wb.Workbench(several(), models={"several": build})
    bench.start(wb.Config(model="several", epochs=2), seeds=2).wait()
    model = bench.model(1)
    few = {name: part[:8] for name, part in RAW.items()}
    loaded = wb.load_model(bench.save(1, tmp_path / "model.pt"), models={"several": build})
    np.testing.assert_array_equal(model.predict_proba(few), loaded.predict_proba(few))
    batch = model.preprocess(few)
    assert isinstance(batch, dict)
    with torch.no_grad():
        assert torch.equal(model(batch), model(**batch))
    np.testing.assert_allclose(model.outputs(batch).softmax(-1), model.predict_proba(few), rtol=1e-5)
    shuffled = {name: few[name] for name in ("ids", "image", "table")}
    np.testing.assert_array_equal(model.predict_proba(shuffled), model.predict_proba(few))
    assert "inputs={'ids': 'tokens'}" in bench.code(1)
    assert bench.ensemble(trials=[1, 2]).predict(few).shape == (8,)
    assert bench.open_test_set(1).score >= 0
    more = {name: np.concatenate([part, part[:20] + (name == "table")]) for name, part in RAW.items()}
    assert sum(bench.task.version((more, np.concatenate([Y, Y[:20]]))).sizes.values()) == ROWS + 20


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        ({}, {}, "X={}: there is no input in it"),
        ({"a": TABLE, "b": TABLE[:-1]}, {}, "different lengths: 'a' has 150 rows, 'b' has 149 rows"),
        ({"an image": IMAGES}, {}, "X has an input named 'an image': .*must be an identifier"),
        ({"class": IMAGES}, {}, "X has an input named 'class'"),
        ({3: IMAGES}, {}, "X has an input named 3"),
        ({"a": TABLE, "b": np.full((ROWS, 2), np.nan)}, {}, r"X\['b'\] has 300 NaN or infinite values"),
        ({"a": TABLE}, {"inputs": {"b": "tokens"}}, "X has no input 'b'"),
        ({"a": TABLE}, {"inputs": {"a": "token"}}, r"inputs\['a'\]='token': must be"),
        ({"a": TABLE}, {"inputs": "tokens"}, r"X\['a'\] has the type float64: tokens are whole numbers"),
        ({"a": TABLE}, {"transform": "pca"}, "transform=.*there are several inputs"),
    ],
)
def test_several_inputs_that_cannot_be_used(X: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.from_arrays(X, Y, **options)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"image": IMAGES, "table": TABLE}, "the input 'ids' is missing"),
        ({**RAW, "tables": TABLE}, "this task has no input 'tables'; did you mean 'table'"),
        (IMAGES, "this task was made from a dict of arrays with the inputs 'image', 'table', 'ids'"),
        ({**RAW, "table": TABLE[:, :2]}, r"rows have the shape .*'table': \(2,\)"),
    ],
)
def test_rows_of_other_inputs(rows: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        several().preprocess(rows)
    with pytest.raises(TaskError, match="this task was made from one array, not a dict"):
        Task.from_arrays(TABLE, Y).preprocess(RAW)


def test_a_model_that_is_not_called_by_keyword_names_the_remedy() -> None:
    bench = wb.Workbench(several(), models={"own": lambda task: nn.Linear(3, 2)})
    with pytest.raises(ModelError, match=r"called by keyword: forward\(self, image, table, ids\)"):
        bench.run(wb.Config(model="own", epochs=1))


# --- codes of categories ----------------------------------------------------------------------------------------------


def make_frame() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "size": rng.normal(50, 20, ROWS),
            "grade": pd.Categorical(rng.choice(["low", "high"], ROWS), ["low", "middle", "high"], ordered=True),
            "city": rng.choice(["Rome", "Oslo", "Bonn"], ROWS),
            "flag": rng.choice([True, False], ROWS),
            "y": Y,
        }
    )


class Embedded(nn.Module):
    def __init__(self, sizes: dict[str, int]) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, 2) for size in sizes.values())
        self.head = nn.Linear(1 + 2 * len(sizes), 2)

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        found = [table(codes[:, column]) for column, table in enumerate(self.tables)]
        outputs: Tensor = self.head(torch.cat([numbers, *found], 1))
        return outputs


def test_categories_become_codes_in_their_order(tmp_path: Path) -> None:
    frame = make_frame()
    task = Task.from_frame(frame, "y", categories="codes", split=GIVEN)
    assert task.categories == {"grade": 4, "city": 4, "flag": 3}
    assert task.inputs == {"numbers": "numbers", "codes": "tokens"}
    assert task.feature_names == ("size", "grade", "city", "flag")
    rows = pd.DataFrame(
        {"size": 50.0, "grade": ["low", "middle", "high", "low"], "city": ["Bonn", "Oslo", "Rome", "Paris"],
         "flag": [False, True, True, False]}
    )  # fmt: skip
    batch = task.preprocess(rows)
    assert isinstance(batch, dict)
    assert batch["codes"].dtype == torch.int64
    assert batch["codes"].tolist() == [[1, 1, 1], [2, 2, 2], [3, 3, 2], [1, 0, 1]]
    plain = Task.from_frame(frame[["size", "y"]], "y", split=GIVEN)
    assert torch.equal(batch["numbers"], plain.preprocess(rows))
    bench = wb.Workbench(task, models={"embedded": lambda task: Embedded(task.categories)})
    bench.start(wb.Config(model="embedded", epochs=1), seeds=2).wait()
    loaded = wb.load_model(
        bench.save(1, tmp_path / "m.pt"), models={"embedded": lambda task: Embedded(task.categories)}
    )
    np.testing.assert_array_equal(loaded.predict_proba(rows), bench.model(1).predict_proba(rows))
    assert "categories='codes'" in bench.code(1)


def test_a_table_of_categories_alone_has_codes_alone() -> None:
    task = Task.from_frame(make_frame().drop(columns="size"), "y", categories="codes", clip=2)
    assert task.inputs == {"codes": "tokens"}
    assert task.input_shape == {"codes": (3,)}


def test_codes_of_a_table_without_categories() -> None:
    with pytest.raises(
        TaskError, match=re.escape("categories='codes': the table has no text, category or boolean column")
    ):
        Task.from_frame(make_frame()[["size", "y"]], "y", categories="codes")
    with pytest.raises(TaskError, match="inputs='tokens': is for arrays; use categories='codes'"):
        Task.from_frame(make_frame(), "y", inputs="tokens")
