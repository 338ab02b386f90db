"""Looking into networks: histograms against numpy, planted penalties, the boundary against predictions, how often one looks."""

from __future__ import annotations

import io
import math
import re
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import nn

import workbench as wb
from workbench.core.errors import RunError
from workbench.core.events import TrialState
from workbench.methods.layers.live_figure import DEEPEST, LEVELS, class_color, layer_grid, plane_frame, plane_png
from workbench.methods.layers.tab import Picture
from workbench.methods.layers.views import BINS, SIDE, Boundary, Plane, blocks, layer_frame, layer_views
from workbench.methods.layers.watch import LOOK_SECONDS, ROWS, SHARE, Watcher, read_layers
from workbench.models import build_model
from workbench.models.layers import inspect_layers
from workbench.training import Weights
from workbench.training.commands import Mailbox, Peek

CONFIG = wb.Config(hidden_units=16, hidden_layers=2, epochs=3, batch_norm=True, dropout=0.2)


@pytest.fixture(scope="module")
def moons() -> wb.Task:
    return wb.Task.load("moons", n=400)


@pytest.fixture(scope="module")
def bench(moons: wb.Task) -> wb.Workbench:
    """Trial 1 without a penalty, 2 with L1, 3 with L2."""
    bench = wb.Workbench(moons, log=None)
    config = CONFIG.replace(epochs=15, batch_norm=False, dropout=0.0)
    bench.run(config)
    bench.run(config.replace(l1=0.01))
    bench.run(config.replace(l2=0.05))
    return bench


# --- numbers ------------------------------------------------------------------------------------------------------------


def test_histograms_count_as_numpy_does_and_ranges_hold_all_values() -> None:
    task = wb.Task.load("digits")
    module, rows = build_model(task, wb.Config(hidden_units=32)).eval(), task.train.x[:100]
    facts = inspect_layers(module, rows)
    for view, layer in zip(layer_views(facts, rows), facts, strict=True):
        pairs = [(view.outputs, layer.outputs)]
        if layer.weight is not None:
            assert view.weights is not None
            assert view.weights.low == -view.weights.high  # symmetric: zero lies within a trash, not at its end
            pairs.append((view.weights, layer.weight))
        for found, values in pairs:
            numbers = values.numpy().astype(float).ravel()
            expected, edges = np.histogram(numbers, BINS, (found.low, found.high))
            assert found.counts.tolist() == expected.tolist()
            assert found.counts.sum() == found.shown == found.size == numbers.size
            assert edges[0] <= numbers.min()
            assert numbers.max() <= edges[-1]
            assert (found.mean, found.std) == pytest.approx((numbers.mean(), numbers.std()), rel=1e-4, abs=1e-6)


def test_a_large_layer_is_sampled_evenly_over_its_inputs() -> None:
    layer = nn.Linear(512, 64, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 1, 512).expand(64, 512))  # a stride of 8 would see 64 of the inputs
    (view,) = layer_views(inspect_layers(layer, torch.randn(4, 512)), torch.randn(4, 512), most=4096)
    assert view.weights is not None
    assert (view.weights.shown, view.weights.size) == (4096, 512 * 64)
    expected = 4096 / BINS
    assert np.abs(view.weights.counts - expected).max() < 6 * math.sqrt(expected)


def test_what_is_not_finite_is_left_out_of_the_counts_and_said() -> None:
    layer = nn.Linear(2, 3)
    with torch.no_grad():
        layer.weight[0, 0] = math.inf
        layer.weight[1, 1] = math.nan
    rows = torch.ones(4, 2)
    (view,) = layer_views(inspect_layers(layer, rows), rows)
    assert view.weights is not None
    assert view.weights.counts.sum() == 4
    assert not math.isfinite(view.weights.mean)
    assert "not finite" in layer_grid(blocks([view]))
    with torch.no_grad():
        layer.weight.fill_(math.nan)
    (nothing,) = layer_views(inspect_layers(layer, rows), rows)
    assert nothing.weights is not None
    assert nothing.weights.counts.sum() == 0
    assert "nan" not in layer_grid(blocks([nothing])).lower()


def test_batch_norm_makes_of_shifted_and_wide_outputs_standardised_ones() -> None:
    rows = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    linear, norm = nn.Linear(5, 8), nn.BatchNorm1d(8, momentum=None)
    with torch.no_grad():
        linear.weight.mul_(20)
        linear.bias.fill_(30.0)
        norm(linear(rows))  # running statistics of these very rows
    module = nn.Sequential(linear, norm, nn.ReLU()).eval()
    views = layer_views(inspect_layers(module, rows), rows)
    before, after, relu = (view.outputs for view in views)
    assert before.mean > 20
    assert before.std > 5
    assert after.mean == pytest.approx(0, abs=0.01)
    assert after.std == pytest.approx(1, abs=0.01)
    assert (before.low, before.high) == (after.low, after.high) == (relu.low, relu.high)  # seen on one scale
    assert (views[1].given_mean, views[1].given_std) == (before.mean, before.std)
    (block,) = blocks(views)
    assert (block.layer.kind, block.norm and block.norm.kind, block.activation and block.activation.kind) == (
        "Linear", "BatchNorm1d", "ReLU",
    )  # fmt: skip


def test_l1_makes_weights_nearly_zero_and_l2_makes_them_small(bench: wb.Workbench) -> None:
    plain, lasso, ridge = (bench.layers(trial).frame.dropna(subset="norm") for trial in (1, 2, 3))
    assert (lasso["zeros"] > plain["zeros"] + 0.1).all()
    assert (ridge["norm"] < 0.8 * plain["norm"]).all()
    assert (ridge["zeros"] < lasso["zeros"]).all()


def test_the_frame_says_what_a_plain_look_at_the_module_says(bench: wb.Workbench, moons: wb.Task) -> None:
    found, model = bench.layers(1), bench.model(1)
    frame, layers = found.frame, [part for part in model.module.modules() if not list(part.children())]
    assert frame["kind"].tolist() == [type(part).__name__ for part in layers]
    x = moons.train.x[:: -(-len(moons.train.x) // ROWS)]
    assert len(x) <= ROWS
    with torch.no_grad():
        for row, part in zip(frame.to_dict("records"), layers, strict=True):
            assert row["parameters"] == sum(p.numel() for p in part.parameters())
            assert row["input_mean"] == pytest.approx(float(x.mean()), abs=1e-5)
            x = part(x)
            assert row["output_std"] == pytest.approx(float(x.std(correction=0)), rel=1e-4)
            if isinstance(part, nn.Linear):
                assert row["norm"] == pytest.approx(float(part.weight.norm()), rel=1e-5)
    assert (found.trial, found.epoch) == (1, model.epoch)
    assert bench.layers(1, epoch=2).epoch == 2
    assert not bench.layers(1, epoch=2).frame["norm"].equals(frame["norm"])


def test_looking_leaves_the_module_as_it_was(moons: wb.Task, bench: wb.Workbench) -> None:
    model = bench.model(1)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    draws = torch.get_rng_state()
    read_layers(model, moons)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(draws, torch.get_rng_state())
    assert all(part.training for part in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


# --- a plane ------------------------------------------------------------------------------------------------------------


def test_the_boundary_is_what_the_model_predicts_on_the_grid(bench: wb.Workbench, moons: wb.Task) -> None:
    model, plane = bench.model(1), Plane.of(moons)
    assert plane is not None
    found = plane.boundary(model.module)
    assert found.label is not None
    step = (plane.high - plane.low) / SIDE
    with torch.no_grad():
        for row, column in ((0, 0), (0, SIDE - 1), (SIDE - 1, 0), (17, 40), (50, 9)):
            point = plane.low[0] + (column + 0.5) * step[0], plane.high[1] - (row + 0.5) * step[1]
            answer = model(torch.tensor([point], dtype=torch.float32)).softmax(1)[0]
            assert found.label[row, column] == int(answer.argmax())
            assert found.strength[row, column] == pytest.approx(float(answer.max()), abs=1e-5)
        whole = model.schema.decode(model(plane.grid()))
    assert [moons.schema.labels[i] for i in found.label.ravel()] == whole.tolist()  # type: ignore[index]
    inside = [(plane.low < points).all() and (points < plane.high).all() for points in plane.points.values()]
    assert inside == [True, True]


def test_the_picture_of_a_plane_has_the_class_colours_and_is_deep_where_the_model_is_sure() -> None:
    label = np.zeros((SIDE, SIDE), np.int64)
    label[:, SIDE // 2 :] = 2
    strength = np.full((SIDE, SIDE), 1.0, np.float32)
    strength[0] = 1 / 3  # guessing among three
    strength[1, 1] = np.nan
    picture = imread(io.BytesIO(plane_png(Boundary(label, strength), 3)))
    assert picture.shape == (SIDE, SIDE, 4)
    for column, index in ((5, 0), (SIDE - 5, 2)):
        color = [int(class_color(index)[1 + 2 * i : 3 + 2 * i], 16) / 255 for i in range(3)]
        assert picture[10, column, :3].tolist() == pytest.approx(color, abs=1e-3)
        assert picture[10, column, 3] == pytest.approx(DEEPEST, abs=0.01)
    assert (picture[0, :, 3] == 0).all()
    assert picture[1, 1, 3] == 0


def test_numbers_over_a_plane_are_coloured_by_their_side_of_the_mean() -> None:
    strength = np.zeros((SIDE, SIDE), np.float32)
    strength[:, 0], strength[:, 1], strength[:, 2] = -2.0, 1.0, 9.0
    picture = imread(io.BytesIO(plane_png(Boundary(None, strength), 0)))
    assert picture[0, 0, 2] > picture[0, 0, 0]  # blue
    assert picture[0, 1, 0] > picture[0, 1, 2]  # red
    depths = picture[0, :4, 3]
    assert depths.tolist() == pytest.approx([DEEPEST, DEEPEST / 2, DEEPEST, 0], abs=DEEPEST / LEVELS)


def test_the_points_lie_where_the_data_are(moons: wb.Task) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(0, 1, (60, 2))
    task = wb.Task.from_arrays(X, np.arange(60) % 2, name="plane")
    plane = Plane.of(task)
    assert plane is not None
    text = plane_frame(plane)
    dots = re.findall(r'wb-plane-train" stroke="(#\w+)" d="([^"]+)"', text)
    drawn = {(color, place) for color, path in dots for place in re.findall(r"M(\d+) (\d+)h0", path)}
    expected = set()
    for point, label in zip(task.train.x.numpy(), task.train.y.tolist(), strict=True):
        x, y = (point - plane.low) / (plane.high - plane.low)
        expected.add((class_color(label), (f"{40 + 256 * x:.0f}", f"{8 + 256 * (1 - y):.0f}")))
    assert drawn == expected
    assert len(expected) > 30


def test_only_tasks_with_two_inputs_have_a_boundary(bench: wb.Workbench) -> None:
    assert bench.decision_boundary(1)._repr_png_().startswith(b"\x89PNG")
    iris = wb.Workbench(wb.Task.load("iris"), log=None)
    iris.run(CONFIG)
    with pytest.raises(RunError, match="'iris' has not two inputs"):
        iris.decision_boundary(1)
    assert iris.layers(1).figure()._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(RunError, match="epoch=9: trial 1 has the epochs 1 to 3"):
        iris.layers(1, epoch=9)


def test_a_regression_over_a_plane_and_its_figures() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(0, 1, (80, 2))
    bench = wb.Workbench(wb.Task.from_arrays(X, X[:, :1] * 3.0, name="slope"), log=None)
    bench.run(CONFIG.replace(epochs=2))
    found = bench.layers(1)
    assert found.answers is not None
    assert found.answers.label is None
    with torch.no_grad():
        expected = bench.model(1)(found.plane.grid()).reshape(SIDE, SIDE)  # type: ignore[union-attr]
    assert np.allclose(found.answers.strength, expected.numpy(), atol=1e-6)
    assert found.decision_boundary()._repr_png_().startswith(b"\x89PNG")


def test_a_table_escapes_what_comes_from_the_task(moons: wb.Task, bench: wb.Workbench) -> None:
    found = read_layers(bench.model(1), moons)
    object.__setattr__(found, "task", "<script>")
    assert "<script>" not in found._repr_html_()
    assert "Layers of trial 1" in repr(found)


# --- watching -----------------------------------------------------------------------------------------------------------


class FakePanel:
    def __init__(self, clock: list[float], took: float = 0.0) -> None:
        self.busy, self.shown, self.problems = "", list[Picture](), list[str]()
        self._clock, self._took = clock, took

    def show(self, picture: Picture) -> None:
        self._clock[0] += self._took
        self.shown.append(picture)

    def show_problem(self, text: str) -> None:
        self.problems.append(text)


class FakeRun:
    """A run whose loop answers at once, with weights that a new module has."""

    def __init__(self, task: wb.Task, config: wb.Config) -> None:
        self.configs, self.states, self.done = {7: config}, {7: TrialState.RUNNING}, False
        module = build_model(task, config)
        vector = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
        self.weights = Weights(vector, {name: value.clone() for name, value in module.named_buffers()})
        self.asked = 0

    def peek(self, trial: int, mailbox: Mailbox) -> None:
        self.asked += 1
        mailbox.put(Peek(trial, 3, 40 + self.asked, self.weights, 0.001) if trial == 7 else None)


def watcher_of(task: wb.Task, panel: FakePanel, run: FakeRun, clock: Callable[[], float], **options: Any) -> Watcher:
    settings: dict[str, Any] = {
        "run_of": lambda trial: run,
        "model_of": lambda trial, epoch: pytest.fail("not asked for"),
        "epochs_of": lambda trial: (1, 3),
        "clock": clock,
        "work_clock": lambda: 0.0,
        "spawn": lambda work: work(),
    }
    return Watcher(lambda trial: task, panel, **{**settings, **options})


@pytest.mark.parametrize(
    ("look", "draw", "expected"),
    [
        (0.0, 0.0, LOOK_SECONDS),  # the copy's 1 ms allows 30 a second: five are the most
        (0.040, 0.0, 0.041 / SHARE),
        (0.040, 0.010, 0.051 / SHARE),
    ],
)
def test_at_most_five_looks_a_second_and_a_small_share_of_the_time(
    moons: wb.Task, look: float, draw: float, expected: float
) -> None:
    now, work = [0.0], [0.0]
    panel, run = FakePanel(work, draw), FakeRun(moons, CONFIG)

    def spawn(job: Callable[[], None]) -> None:
        job()

    def worked() -> float:
        work[0] += look / 2  # asked before a look and after it, and so around the drawing
        return work[0]

    watcher = watcher_of(moons, panel, run, lambda: now[0], spawn=spawn, work_clock=worked)
    looks: list[float] = []
    while now[0] < 20.0:
        before = run.asked
        watcher.tick(7, in_front=True)
        looks += [now[0]] * (run.asked - before)
        now[0] += 0.01
    gaps = np.diff(looks)
    assert gaps.min() >= expected - 1e-9
    assert gaps.max() <= expected + 0.03  # the next tick or so after it is due
    assert len(panel.shown) in (len(looks), len(looks) - 1)
    assert "Trial 7, training: epoch 4, step 41 " in panel.shown[0].caption
    assert panel.shown[0].raster is not None


def test_behind_nothing_is_asked_for_and_the_loop_that_has_no_such_row_is_asked_again(moons: wb.Task) -> None:
    now = [0.0]
    panel, run = FakePanel([0.0]), FakeRun(moons, CONFIG)
    watcher = watcher_of(moons, panel, run, lambda: now[0])
    watcher.tick(7, in_front=False)
    assert run.asked == 0
    watcher.tick(None, in_front=True)
    watcher.tick(None, in_front=True)
    assert panel.problems == ["Train a model, or select a trial in the table: its weights and activations are shown here, "
                              "while it trains too."]  # fmt: skip
    run.states[8] = TrialState.QUEUED
    watcher.tick(8, in_front=True)
    assert panel.problems[1:] == ["Trial 8 waits for its turn."]
    run.states[8] = TrialState.RUNNING  # between two cohorts: it trains, but not in the one under way
    for _ in range(4):
        watcher.tick(8, in_front=True)
        now[0] += 0.11
    assert (run.asked, panel.shown) == (2, [])


def test_a_paused_trial_is_looked_at_once_and_an_ended_one_by_its_model(moons: wb.Task, bench: wb.Workbench) -> None:
    now = [0.0]
    panel, run = FakePanel([0.0]), FakeRun(moons, CONFIG)
    asked: list[tuple[int, int | None]] = []

    def model_of(trial: int, epoch: int | None) -> Any:
        asked.append((trial, epoch))
        return bench.model(1, epoch)

    watcher = watcher_of(moons, panel, run, lambda: now[0], model_of=model_of, epochs_of=lambda trial: (1, 15))

    def ticks() -> None:
        for _ in range(30):
            watcher.tick(7, in_front=True)
            now[0] += 0.1

    run.states[7] = TrialState.PAUSED
    ticks()
    assert (run.asked, len(panel.shown)) == (1, 1)
    assert "Trial 7, paused" in panel.shown[0].caption
    run.states[7], run.done = TrialState.COMPLETED, True
    ticks()
    assert asked == [(7, None)]
    assert (panel.shown[-1].epochs, panel.shown[-1].epoch) == ((1, 15), bench.model(1).epoch)
    watcher.look(4)
    ticks()
    assert asked == [(7, None), (7, 4)]
    assert "after epoch 4" in panel.shown[-1].caption
    assert panel.busy  # told while the weights are fetched; the panel takes it away when it shows


def test_when_the_training_ends_between_two_looks_its_end_is_looked_at_at_once(
    moons: wb.Task, bench: wb.Workbench
) -> None:
    """There may be no further tick: what has ended tells nothing more."""
    panel, run = FakePanel([0.0]), FakeRun(moons, CONFIG)
    watcher = watcher_of(moons, panel, run, lambda: 0.0, model_of=lambda trial, epoch: bench.model(1, epoch))
    for _ in range(2):  # asked for, then shown: the next look is not due for a while
        watcher.tick(7, in_front=True)
    assert [picture.caption.split(":")[0] for picture in panel.shown] == ["Trial 7, training"]
    run.states[7], run.done = TrialState.COMPLETED, True
    for _ in range(2):  # the last one, and that which the look asks for
        watcher.tick(7, in_front=True)
    assert panel.shown[-1].caption.startswith("Trial 7 after its best epoch")


def test_what_a_model_raises_is_shown_and_not_asked_for_again(moons: wb.Task) -> None:
    now = [0.0]
    panel, run = FakePanel([0.0]), FakeRun(moons, CONFIG)
    run.done = True
    asked: list[int] = []

    def model_of(trial: int, epoch: int | None) -> Any:
        asked.append(trial)
        raise RunError("trial 7 has no finished epoch")

    watcher = watcher_of(moons, panel, run, lambda: now[0], model_of=model_of)
    for _ in range(5):
        watcher.tick(7, in_front=True)
        now[0] += 1.0
    assert panel.problems == ["trial 7 has no finished epoch"]
    assert asked == [7]


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_real_run_is_seen_live_and_ends_with_the_same_bits_as_unwatched(moons: wb.Task, seeds: int) -> None:
    config = CONFIG.replace(epochs=5000)
    quiet = wb.Workbench(moons, log=None)
    bench, panel = wb.Workbench(moons, log=None), FakePanel([0.0])
    run = bench.start(config, seeds=seeds)
    trial = run.trials[-1]
    watcher = Watcher(
        lambda trial: moons, panel, run_of=bench._session.run_of, model_of=bench.model, epochs_of=lambda trial: (1, 5000),
    )  # fmt: skip
    while not panel.shown or not run.done:  # a picture before the end, by all means
        watcher.tick(trial, in_front=True)
        run._done.wait(1 / 30)
        if len(panel.shown) >= 3:
            run.stop()
    live = [picture for picture in panel.shown if "training" in picture.caption]
    assert len(live) >= 2
    assert live[0].layers != live[-1].layers
    assert live[0].raster != live[-1].raster
    run.wait()
    steps = int(bench.trials.set_index("trial").loc[trial, "epochs_run"])
    other = quiet.run(config.replace(epochs=max(1, steps)), seeds=seeds)
    ours, theirs = bench.curves(trial), quiet.curves(other.trials[-1])
    columns = ["epoch", "train_loss", "val_loss", "grad_norm"]
    assert ours[columns].iloc[:steps].equals(theirs[columns].iloc[:steps])
    assert bench.events(trial)["kind"].tolist().count("peek") == 0


def test_what_is_sent_at_each_look_is_small(moons: wb.Task) -> None:
    module = build_model(moons, wb.Config(hidden_units=64, hidden_layers=3, batch_norm=True)).eval()
    plane = Plane.of(moons)
    assert plane is not None
    views = layer_views(inspect_layers(module, moons.train.x), moons.train.x, 4096)
    assert len(layer_grid(blocks(views)).encode()) < 16 * 1024
    assert len(plane_png(plane.boundary(module), 2)) < 4096
    assert len(zlib.compress(plane_frame(plane).encode())) < 16 * 1024
    assert layer_frame(views)["layer"].is_unique
