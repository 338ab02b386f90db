"""The figure of a diagnosis: the evidence is on it, and what is not is marked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import workbench as wb

GOOD = wb.Config(learning_rate=0.01, epochs=12, hidden_units=16)
WILD = GOOD.replace(optimizer="sgd", learning_rate=8.0)


@pytest.fixture
def bench() -> wb.Workbench:
    return wb.Workbench(wb.Task.load("wine"))


def entries(axes: Any) -> list[str]:
    legend = axes.get_legend()
    return [text.get_text() for text in legend.get_texts()]


def in_sight(axes: Any, values: Any) -> Any:
    low, high = sorted(axes.get_ylim())
    return (values >= low) & (values <= high)


def test_a_rising_loss_is_on_the_chart_with_the_gap_that_the_text_tells() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 8))
    bench = wb.Workbench(wb.Task.from_arrays(X, ((X[:, 0] > 0) ^ (rng.random(160) < 0.25)).astype(int)))
    bench.run(wb.Config(learning_rate=0.01, epochs=150))
    found = bench.diagnose(1)
    assert found.verdict == "overfitting"
    case = found.case
    assert case.val_loss.max() > 3.2 * case.unit  # what was cut off once
    loss = found.figure().axes[0]
    assert in_sight(loss, case.val_loss).all()
    words = f"gap of {case.val_loss[-1] - case.train_loss[-1]:.3g}"
    assert words in [text.get_text() for text in loss.texts]
    assert any(words in sentence for sentence in found.findings[0].evidence)
    (arrow,) = [text for text in loss.texts if not text.get_text()]
    assert arrow.xy == (150, case.val_loss[-1])  # type: ignore[attr-defined]


def test_what_is_off_the_chart_is_marked_for_either_curve_and_not_in_the_legend(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    bench.run(WILD)
    found = bench.diagnose(2)
    curve = found.case.curve.copy()
    curve["val_loss"] = [0.9, 50.0, 60.0] + [0.8] * (len(curve) - 3)
    curve["train_loss"] = np.nan
    curve["val_metric"] = -1e6
    curve["train_metric"] = 0.3
    found.case = replace(found.case, curve=curve, baseline_score=0.6, best_score=0.7)
    found.findings = ()
    loss, score = found.figure().axes[:2]
    told = entries(loss)
    assert "training" not in told
    assert "validation" in told
    n = len(curve)
    assert any(text.startswith("validation beyond") and text.endswith(f": 2 of {n} epochs") for text in told)
    assert any("training beyond" in text and f"or no number: {n} of {n}" in text for text in told)
    marked = next(line for line in loss.lines if str(line.get_label()).startswith("validation beyond"))
    assert list(marked.get_xdata()) == [2, 3]
    told = entries(score)
    assert "validation" not in told
    assert "training" in told  # 0.3 is far below baseline and best, and still on the chart
    assert in_sight(score, curve["train_metric"]).all()
    assert f"validation outside the chart: {n} of {n} epochs" in told


def test_the_figure_marks_since_when_and_draws_layers_where_they_matter(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    bench.run(GOOD.replace(hidden_layers=12, hidden_units=2))
    healthy, ill = bench.diagnose(1), bench.diagnose(2)
    assert len(healthy.figure().axes) == 2
    figure = ill.figure()
    assert len(figure.axes) == 4
    dead = next(axes for axes in figure.axes if "dead" in axes.get_title(loc="left"))
    drawn = [patch.get_width() for patch in dead.patches]
    assert drawn == [
        one.dead for facts in (ill.case.initial, ill.case.trained) for one in facts or () if one.role == "activation"
    ]
