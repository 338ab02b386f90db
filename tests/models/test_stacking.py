"""The stacked forward pass against each model run alone: outputs, gradients and running statistics."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from workbench.models import stacked_forward

MODELS = {
    "linear": ((5,), lambda: nn.Sequential(nn.Linear(5, 3))),
    "mlp": ((2, 3), lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3, bias=False))),
    "batch norm": ((6,), lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ELU(), nn.Linear(8, 3))),
    "no affine": ((6,), lambda: nn.Sequential(nn.BatchNorm1d(6, affine=False, track_running_stats=False))),
    "rows of rows": ((4, 5), lambda: nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Flatten(), nn.Linear(28, 2))),
    "cnn": (
        (1, 8, 8),
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.SiLU(), nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, stride=2, groups=2, padding=1, padding_mode="reflect"), nn.ReLU(),
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6, 3),
        ),
    ),
    "fully convolutional": ((2, 5, 5), lambda: nn.Sequential(nn.Conv2d(2, 3, 3, dilation=2), nn.AdaptiveAvgPool2d(1))),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_each_row_is_its_model_alone(name: str) -> None:
    shape, make = MODELS[name]
    torch.manual_seed(0)
    models = [make().double() for _ in range(3)]
    x = torch.randn(3, 7, *shape, dtype=torch.float64)
    parameters = {
        key: torch.stack([dict(m.named_parameters())[key].detach() for m in models]).requires_grad_()
        for key, _ in models[0].named_parameters()
    }
    buffers = {key: torch.stack([dict(m.named_buffers())[key] for m in models]) for key, _ in models[0].named_buffers()}
    skeleton = copy.deepcopy(models[0])
    forward = stacked_forward(skeleton)
    assert forward is not None
    for training in (True, False):
        skeleton.train(training)
        outputs = forward(parameters, buffers, x)
        alone = [m.train(training)(x[i]) for i, m in enumerate(models)]
        torch.testing.assert_close(outputs, torch.stack(alone), rtol=0, atol=1e-12)
        if not parameters:
            continue
        ours = torch.autograd.grad(outputs.square().sum(), list(parameters.values()))
        for (key, _), gradient in zip(parameters.items(), ours, strict=True):
            for i, m in enumerate(models):
                (theirs,) = torch.autograd.grad(alone[i].square().sum(), [m.get_parameter(key)], retain_graph=True)
                torch.testing.assert_close(gradient[i], theirs, rtol=1e-10, atol=1e-10)
    for key, values in buffers.items():
        for i, m in enumerate(models):
            torch.testing.assert_close(values[i], m.get_buffer(key))


class Doubled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(2, 2),
        nn.Sequential(Doubled(2, 2)),
        nn.Sequential(nn.LayerNorm(2)),
        nn.Sequential(nn.BatchNorm1d(2, momentum=None)),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))),
        hooked(),
    ],
    ids=["no sequence", "a subclass", "not known", "cumulative mean", "parametrised", "hooked"],
)
def test_what_is_not_known_is_left_to_vmap(model: nn.Module) -> None:
    assert stacked_forward(model) is None
