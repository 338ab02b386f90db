"""Heads found or named, groups of layers, where a network is cut, and the weights that files hold."""

from __future__ import annotations

import copy
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import workbench as wb
from workbench.core.config import declared
from workbench.core.registry import MODELS
from workbench.models import Backbone, Pretrained, build_model, layer_groups, register_backbone, stacked_forward


class Shape:
    """What a builder asks of a task."""

    def __init__(self, input_shape: tuple[int, ...], output_size: int = 3) -> None:
        self.input_shape, self.output_size, self.positions = input_shape, output_size, ()


class Block(nn.Module):
    """A residual block with a projection where it halves the picture."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        same = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        outputs: Tensor = self.relu(self.bn2(self.conv2(x)) + same)
        return outputs


class SmallResNet(nn.Module):
    """The plan and the names of torchvision's residual networks, on 3x16x16 pictures."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(2)
        self.layer1 = nn.Sequential(Block(8, 8, 1), Block(8, 8, 1))
        self.layer2 = nn.Sequential(Block(8, 16, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outputs: Tensor = self.fc(self.avgpool(self.layer2(self.layer1(x))).flatten(1))
        return outputs


Output = namedtuple("Output", ["loss", "logits"])


class Transformer(nn.Module):
    """The plan of Hugging Face's vision models: all but the head in one child, logits in a record."""

    def __init__(self) -> None:
        super().__init__()
        inner = nn.Module()
        inner.token = nn.Parameter(torch.zeros(4))
        inner.embeddings = nn.Linear(6, 4)
        inner.encoder = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        inner.layernorm = nn.LayerNorm(4)
        self.vit = inner
        self.classifier = nn.Linear(4, 9)

    def forward(self, x: Tensor) -> Output:
        inner: Any = self.vit
        return Output(None, self.classifier(inner.layernorm(inner.encoder(inner.embeddings(x) + inner.token))))


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    before = set(MODELS)
    yield
    for name in set(MODELS) - before:
        MODELS.unregister(name)


def built(name: str, shape: Shape, **values: Any) -> Pretrained:
    module = build_model(shape, wb.Config(model=name, **values))
    assert isinstance(module, Pretrained)
    return module


def resnet() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = SmallResNet()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = torch.linspace(-1, 1, part.num_features)
    return network


# --- heads and groups -------------------------------------------------------------------------------------------------


def test_the_last_linear_layer_is_the_head_and_the_body_is_what_remains() -> None:
    backbone = register_backbone("resnet", resnet)
    assert backbone.head_name == "fc"
    assert [group.parts for group in backbone.groups] == [("conv1", "bn1"), ("layer1",), ("layer2",)]
    x, network = torch.randn(4, 3, 16, 16), resnet().eval()
    module = built("resnet", Shape((3, 16, 16)), seed=4).eval()
    network.fc = nn.Identity()
    torch.manual_seed(4)
    head = nn.Linear(16, 3)
    assert torch.equal(module(x), head(network(x))), "a head drawn from the trial's seed on the network's own features"
    assert torch.equal(built("resnet", Shape((3, 16, 16)), seed=4).head.weight, head.weight)  # type: ignore[arg-type]


def test_what_it_brings_along_says_what_it_means() -> None:
    backbone = register_backbone("resnet", resnet)
    own = declared("resnet")
    assert set(backbone.meanings) == {"freeze", "unfreeze_at", "learning_rate_factor"}
    assert {name: own[name].meaning for name in backbone.meanings} == backbone.meanings
    assert "counted from the input" in own["freeze"].meaning
    wb.register_model("mine", lambda task, *, width=wb.IntRange(2, 8): nn.Linear(6, width))  # type: ignore[misc]
    assert declared("mine")["width"].meaning == "Hyperparameter of mine."


def test_the_digest_is_that_of_the_weights_without_the_head() -> None:
    def made(change: Callable[[SmallResNet], object] = lambda network: None) -> str:
        network = resnet()
        with torch.no_grad():
            change(network)  # type: ignore[arg-type]
        return Backbone("net", lambda: network).digest

    first = made()
    assert made() == first
    assert made(lambda network: network.fc.weight.add_(1)) == first, "the head is new for each task"
    assert made(lambda network: network.conv1.weight[0, 0, 0, 0].add_(1e-3)) != first
    assert made(lambda network: network.bn1.running_mean.add_(1)) != first  # type: ignore[union-attr,operator]
    assert made(lambda network: network.double()) != first


@pytest.mark.parametrize(("head", "found"), [(None, "2.1"), ("2.1", "2.1"), ("2.0", "2.0")])
def test_a_head_is_found_or_named_inside_the_network(head: str | None, found: str) -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 7)))

    backbone = Backbone("net", make, head=head)
    assert backbone.head_name == found
    if found == "2.1":
        assert backbone.features((6,)) == 4
    else:  # it is not the last layer: what remains ends in another one
        with pytest.raises(wb.ModelError, match="without its head '2.0' it raised RuntimeError"):
            backbone.features((6,))


def test_outputs_in_a_record_are_unwrapped() -> None:
    backbone = register_backbone("vit", Transformer)
    assert [group.parts for group in backbone.groups] == [("vit.embeddings",), ("vit.encoder", "vit.layernorm")]
    module = built("vit", Shape((6,)), freeze=1)
    assert module(torch.zeros(5, 6)).shape == (5, 3)
    trains = {name for name, p in module.named_parameters() if p.requires_grad}
    assert trains == {"head.weight", "head.bias"} | {
        f"body.vit.{name}" for name in ("encoder.0.weight", "encoder.0.bias", "layernorm.weight", "layernorm.bias")
    }
    assert dict(built("vit", Shape((6,)), freeze=0).named_parameters())["body.vit.token"].requires_grad


def test_a_sequence_in_a_sequence_is_one_row_of_groups_that_can_be_cut_and_stacked() -> None:
    def make() -> nn.Module:
        features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
        return nn.Sequential(features, nn.Flatten(), nn.Linear(16, 10))

    backbone = register_backbone("net", make)
    assert [len(group.parts) for group in backbone.groups] == [2, 1]
    module = built("net", Shape((1, 6, 6)), freeze=1)
    assert module.stem is not None
    assert len(list(module.stem.children())) == 3, "what has no parameters goes with what is before"
    assert stacked_forward(module.trained) is not None
    whole = built("net", Shape((1, 6, 6)), freeze=0)
    assert whole.stem is None
    assert stacked_forward(whole.trained) is not None


def test_nested_blocks_stay_groups_and_are_stacked() -> None:
    def make() -> nn.Module:
        first = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU())
        return nn.Sequential(first, nn.Sequential(nn.Linear(5, 4), nn.ReLU()), nn.Linear(4, 9))

    assert [group.name for group in register_backbone("net", make).groups] == ["0", "1"]
    module = built("net", Shape((6,)), freeze=1)
    assert [type(part).__name__ for part in module.trained] == ["Linear", "ReLU", "Linear"]  # type: ignore[attr-defined]
    x = torch.randn(4, 6)
    assert torch.equal(module.trained(module.stem(x)), module(x))  # type: ignore[misc]


@pytest.mark.parametrize("freeze", [0, 1, 2, 3])
def test_what_trains_on_the_stems_outputs_is_the_whole(freeze: int) -> None:
    register_backbone("resnet", resnet)
    module, x = built("resnet", Shape((3, 16, 16)), freeze=freeze), torch.randn(4, 3, 16, 16)
    module.trained.train()
    stem = module.stem
    assert (stem is None) == (freeze < 3), "a network that is no sequence is cut behind its last layer only"
    with torch.no_grad():
        parts = module.trained(x if stem is None else stem(x))
        assert torch.equal(parts, copy.deepcopy(module).train()(x))
    frozen = [name for name, part in module.body.named_modules() if name and not part.training]
    assert any(name.startswith("bn1") for name in frozen) == (freeze > 0)
    assert any(name.startswith("layer2") for name in frozen) == (freeze > 2)
    before = {name: value.clone() for name, value in module.body.named_buffers()}
    module.train()(x)
    moved = {name for name, value in module.body.named_buffers() if not torch.equal(value, before[name])}
    assert any(name.startswith("bn1") for name in moved) == (freeze == 0)
    assert any(name.startswith("layer2") for name in moved) == (freeze < 3)


def test_depths_are_even_steps_from_the_head_to_the_input() -> None:
    """As `numpy.geomspace` from the rate times the factor to the rate."""
    register_backbone("resnet", resnet)
    module = built("resnet", Shape((3, 16, 16)), freeze=0)
    depth_of = dict(
        zip([n for n, _ in module.trained.named_parameters()], [d for _, d in module.depths()], strict=True)
    )
    assert {name.split(".")[1]: depth for name, depth in depth_of.items() if name.startswith("body")} == {
        "conv1": 1.0, "bn1": 1.0, "layer1": pytest.approx(2 / 3), "layer2": pytest.approx(1 / 3),
    }  # fmt: skip
    assert depth_of["head.weight"] == 0.0
    sizes = [(n, p.numel()) for n, p in module.trained.named_parameters()]
    assert [size for size, _ in module.depths()] == [size for _, size in sizes]


def test_the_hyperparameters_have_defaults_and_bounds() -> None:
    register_backbone("resnet", resnet, label="ResNet")
    config = wb.Config(model="resnet")
    assert (config.freeze, config.unfreeze_at, config.learning_rate_factor) == (3, 0, 0.1)  # type: ignore[attr-defined]
    assert MODELS["resnet"].label == "ResNet"
    for bad in (
        {"freeze": 4},
        {"freeze": -1},
        {"learning_rate_factor": 0},
        {"learning_rate_factor": 2},
        {"unfreeze_at": -1},
    ):
        with pytest.raises(wb.ConfigError, match=next(iter(bad))):
            wb.Config(model="resnet", **bad)


# --- bad input --------------------------------------------------------------------------------------------------------


def test_inputs_that_do_not_fit_are_named_with_both_shapes() -> None:
    register_backbone("resnet", resnet)
    with pytest.raises(wb.ModelError, match=r"of shape \(1, 8, 8\), where its first layer takes \(3, height"):
        built("resnet", Shape((1, 8, 8)))
    register_backbone("table", lambda: nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2)))
    with pytest.raises(wb.ModelError, match=r"of shape \(5,\), where its first layer takes \(6,\)"):
        built("table", Shape((5,)))


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (lambda: nn.Conv2d(1, 2, 3), {}, "has no nn.Linear layer; name its last layer with head="),
        (lambda: nn.Linear(4, 2), {}, "no parameters but those of its head"),
        (lambda: nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), {}, "no parameters but those of its head"),
        (resnet, {"head": "cf"}, "head='cf' names no part of it; known: fc"),
        (lambda: 3, {}, "must return an nn.Module with its weights, got int"),
        (lambda: 1 / 0, {}, "making it raised ZeroDivisionError"),
    ],
)
def test_a_network_that_cannot_be_used_is_refused_and_not_registered(make: Any, options: Any, says: str) -> None:
    with pytest.raises(wb.ModelError, match=says):
        wb.register_backbone("bad", make, **options)
    assert "bad" not in MODELS


def test_make_must_be_a_function() -> None:
    with pytest.raises(wb.ConfigError, match=r"make='Linear'.*must be a function"):
        register_backbone("bad", "Linear")  # type: ignore[arg-type]


def test_groups_of_the_built_in_architectures() -> None:
    config = wb.Config(model="mlp", hidden_layers=3, batch_norm=True)
    assert [group.parts for group in layer_groups(build_model(Shape((6,)), config)[:-1])] == [  # type: ignore[index]
        ("1", "2"), ("4", "5"), ("7", "8"),
    ]  # fmt: skip


# --- files of weights -------------------------------------------------------------------------------------------------


def saved(folder: Path, kind: str, weights: dict[str, Tensor]) -> Path:
    if kind == "safetensors":
        from safetensors.torch import save_file

        save_file({name: value.contiguous() for name, value in weights.items()}, folder / "net.safetensors")
        return folder / "net.safetensors"
    content: Any = {"plain": weights, "checkpoint": {"epoch": 3, "state_dict": weights}}[kind]
    torch.save(content, folder / "net.pth")
    return folder / "net.pth"


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
@pytest.mark.parametrize("kind", ["plain", "checkpoint", "safetensors"])
def test_a_checkpoint_of_a_residual_network_is_loaded_and_gives_its_features(
    tmp_path: Path, kind: str, prefix: str
) -> None:
    """Whatever classes its own head had; the network that is made has other weights before."""
    trained = resnet()
    path = saved(tmp_path, kind, {f"{prefix}{name}": value for name, value in trained.state_dict().items()})
    wb.register_backbone("loaded", lambda: SmallResNet(classes=77), weights=path)
    module, x = built("loaded", Shape((3, 16, 16)), freeze=2).eval(), torch.randn(4, 3, 16, 16)
    trained.eval().fc = nn.Identity()
    assert torch.equal(module.body(x), trained(x))
    assert wb.load_weights(path).keys() == resnet().state_dict().keys()


def test_keys_that_do_not_match_are_named_and_nothing_is_registered(tmp_path: Path) -> None:
    weights = resnet().state_dict()
    del weights["layer2.0.downsample.0.weight"]
    weights["layer3.0.conv1.weight"] = torch.zeros(2)
    weights["conv1.weight"] = torch.zeros(8, 1, 3, 3)
    path = saved(tmp_path, "plain", weights)
    with pytest.raises(wb.CheckpointError) as caught:
        wb.register_backbone("loaded", SmallResNet, weights=path)
    for says in (
        "the file lacks layer2.0.downsample.0.weight",
        "the network has no layer3.0.conv1.weight",
        "conv1.weight of shape (8, 1, 3, 3), which is (8, 3, 3, 3) in the network",
    ):
        assert says in str(caught.value)
    assert "loaded" not in MODELS


def test_a_file_from_before_batches_were_counted_is_taken(tmp_path: Path) -> None:
    weights = {name: value for name, value in resnet().state_dict().items() if "num_batches" not in name}
    wb.register_backbone("loaded", SmallResNet, weights=saved(tmp_path, "plain", weights))
    assert torch.equal(
        built("loaded", Shape((3, 16, 16))).body.state_dict()["bn1.running_mean"], weights["bn1.running_mean"]
    )


def test_the_file_of_a_whole_model_is_told_from_weights(tmp_path: Path) -> None:
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.run(wb.Config(epochs=1))
    bench.save(1, tmp_path / "model.pt")
    bench.save(bench.ensemble(), tmp_path / "ensemble.pt")
    for name in ("model.pt", "ensemble.pt"):
        with pytest.raises(wb.CheckpointError, match=r"written by bench\.save.*wb\.load_model\(path\)"):
            wb.load_weights(tmp_path / name)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_are_missing_damaged_or_no_weights_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    with pytest.raises(wb.CheckpointError, match="there is no such file"):
        wb.load_weights(path)
    path.write_bytes(b"neither")
    with pytest.raises(wb.CheckpointError, match="is damaged, or (no|holds)"):
        wb.load_weights(path)
    if suffix == ".pth":
        torch.save(resnet(), path)  # the network itself, which is code
        with pytest.raises(wb.CheckpointError, match="could run code"):
            wb.load_weights(path)
        torch.save([1, 2], path)
        with pytest.raises(wb.CheckpointError, match="holds no state dict"):
            wb.load_weights(path)
