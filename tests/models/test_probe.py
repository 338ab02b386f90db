"""What is found out about a module before training: changes of its input, outputs without a gradient, short embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import workbench as wb

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


class Net(nn.Module):
    """A linear layer, with a function before it and one after it."""

    def __init__(self, before: Any = lambda x: x, after: Any = lambda outputs: outputs) -> None:
        super().__init__()
        self.layer, self.before, self.after = nn.Linear(4, 2), before, after

    def forward(self, x: Tensor) -> Any:
        return self.after(self.layer(self.before(x)))


def trained(task: wb.Task, module: Any, **options: Any) -> wb.Workbench:
    bench = wb.Workbench(task, models={"net": lambda task: module()})
    bench.run(wb.Config(model="net", epochs=1), **options)
    return bench


def blank(x: Tensor) -> Tensor:
    x[:, 0] = 0
    return x


@pytest.mark.parametrize(
    "before",
    [
        lambda x: x.add_(1), nn.ReLU(inplace=True), lambda x: x.view(-1).mul_(2).view_as(x), blank,
        lambda x: x.detach().sub_(x.mean()),
    ],
)  # fmt: skip
def test_a_module_that_changes_its_input_would_change_the_data(before: Any) -> None:
    task = wb.Task.from_arrays(X, Y)
    kept = task.train.x.clone(), task.validation.x.clone()
    for seeds in (1, 2):
        with pytest.raises(wb.ModelError, match=r"model 'net': changes its input in place.*x = x \+ 1.*x\.clone\(\)"):
            trained(task, lambda: Net(before), seeds=seeds)
    assert torch.equal(task.train.x, kept[0])
    assert torch.equal(task.validation.x, kept[1])
    assert trained(task, lambda: Net(lambda x: before(x.clone()))).trials["state"].tolist() == ["completed"]


class Halves(nn.Module):
    """Two inputs, one of which is changed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.layer(a + b.clamp_(0))  # type: ignore[no-any-return]


def test_of_several_inputs_each_is_looked_at() -> None:
    with pytest.raises(wb.ModelError, match="changes its input in place"):
        trained(wb.Task.from_arrays({"a": X, "b": X}, Y), Halves)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (lambda outputs: outputs.long(), "must return floating-point numbers, got torch.int64"),
        (lambda outputs: outputs > 0, "must return floating-point numbers, got torch.bool"),
        (lambda outputs: outputs.detach(), "its outputs have no gradient.*leave out .detach"),
        (lambda outputs: torch.tensor(outputs.detach().numpy()), "its outputs have no gradient"),
        (lambda outputs: outputs[:1], r"must return a tensor of shape \(2, 2\) for a batch of 2 rows"),
        (lambda outputs: None, "returned NoneType"),
    ],
)  # fmt: skip
def test_outputs_that_cannot_be_trained(after: Any, message: str) -> None:
    with pytest.raises(wb.ModelError, match=message):
        trained(wb.Task.from_arrays(X, Y), lambda: Net(after=after))


def words(entries: int) -> nn.Module:
    return nn.Sequential(nn.Embedding(entries, 3), nn.Flatten(), nn.LazyLinear(2))


def test_an_embedding_holds_all_tokens_of_the_task() -> None:
    tokens = RNG.integers(0, 9, (60, 5))
    tokens[0, 0] = 8
    task = wb.Task.from_arrays(tokens, Y, inputs="tokens")
    with pytest.raises(wb.ModelError, match=r"IndexError.*as many entries as task\.categories\['tokens'\] says"):
        trained(task, lambda: words(8))
    bench = trained(task, lambda: words(9))
    with pytest.raises(wb.TaskError, match=r"X has the token 50, and those of the task are 0 to 8: map unknown tokens"):
        bench.predict(1, np.array([[0, 1, 2, 3, 50]]))
    assert trained(task, lambda: words(100)).predict(1, np.full((2, 5), 50)).shape == (2,)
