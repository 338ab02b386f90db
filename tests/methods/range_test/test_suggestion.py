"""The rule of the learning-rate range test on planted curves."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.methods.range_test.figure import range_curve
from workbench.methods.range_test.suggestion import _smoothed, range_table, suggest

RATES = np.geomspace(1e-5, 10, 48)
START = 2.0


def runs(curve, seeds: int = 3, noise: float = 0.0, peak=lambda place: 0.0, draw: int = 0) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """One row a run; curve: place (log10 of the rate) -> loss; peak: what the training loss climbs to on the way."""
    rng = np.random.default_rng(draw)
    rows = []
    for seed in range(seeds):
        for rate in RATES:
            loss = curve(math.log10(rate)) + noise * rng.normal()
            rows.append((rate, seed, loss, loss, max(loss, peak(math.log10(rate)))))
    return pd.DataFrame(rows, columns=["learning_rate", "seed", "train_loss", "val_loss", "peak_loss"])


def untrained(seeds: int = 3) -> dict[int, float]:
    return dict.fromkeys(range(seeds), START)


def valley(place: float, centre: float = -2.0, edge: float = -0.5) -> float:
    """A smooth valley, and beyond the edge no finite loss."""
    return math.inf if place > edge else START - 1.5 * math.exp(-((place - centre) ** 2))


def test_the_middle_of_a_planted_valley_is_suggested() -> None:
    found = suggest(runs(valley), untrained(), steps=100)
    assert found.rate is not None
    assert math.log10(found.rate) == pytest.approx(-2, abs=0.05)
    # the steepest point of exp(-x²) is at x = -1/√2
    assert math.log10(found.steepest) == pytest.approx(-2 - math.sqrt(0.5), abs=0.15)  # type: ignore[arg-type]
    # half of the gain is lost at x = √ln 2
    assert math.log10(found.largest_stable) == pytest.approx(-2 + math.sqrt(math.log(2)), abs=0.15)  # type: ignore[arg-type]
    assert "0.01 is the middle of the valley" in found.reason
    assert "after 100 steps" in found.reason
    assert "mean of 3 seeds" in found.reason


def test_the_suggestion_keeps_away_from_where_runs_diverge() -> None:
    """A loss that falls until it bursts: its smallest value is no place to train at."""
    found = suggest(runs(lambda place: valley(place, centre=-1.0, edge=-1.0)), untrained())
    stable = RATES[np.log10(RATES) <= -1.0][-1]
    assert found.largest_stable == pytest.approx(stable)
    assert found.rate == pytest.approx(stable / 2, rel=0.05)
    # where runs do diverge beyond, the margin goes before the valley, and the reason does not claim otherwise
    assert found.low is not None
    assert found.rate is not None
    assert found.rate < found.low
    assert "half of the largest stable rate, below the valley" in found.reason


def test_a_run_that_burst_and_came_back_counts_as_diverged() -> None:
    """Beyond 0.1 the training loss climbs, and the loss at the end is luckily the smallest of all."""

    def curve(place: float) -> float:
        return valley(place, edge=9) if place < -1 else 0.0

    lucky = suggest(runs(curve), untrained())
    told = runs(curve, peak=lambda place: 1e3 if place >= -1 else 0.0)
    found = suggest(told, untrained())
    assert lucky.rate is not None
    assert lucky.rate > 0.1
    assert math.log10(found.rate) == pytest.approx(-2, abs=0.1)  # type: ignore[arg-type]
    table = range_table(told, untrained())
    assert (table["diverged"] == (np.log10(RATES) >= -1)).all()


def test_noise_moves_the_suggestion_less_than_the_smallest_loss() -> None:
    def flat(place: float) -> float:
        return valley(place, edge=9) if not -3 < place < -1 else valley(-3, edge=9)

    ours, smallest = [], []
    for draw in range(100):
        points = runs(flat, noise=0.02, draw=draw)
        ours.append(math.log10(suggest(points, untrained()).rate or math.nan))
        mean = points.groupby("learning_rate")["val_loss"].mean()
        smallest.append(math.log10(float(mean.idxmin())))
    assert np.mean(ours) == pytest.approx(-2, abs=0.1)
    assert np.std(ours) < np.std(smallest) / 2


def test_the_table_is_what_pandas_says() -> None:
    points = runs(valley, noise=0.05)
    points.loc[
        (points["learning_rate"] == RATES[3]) & (points["seed"] == 1), ["val_loss", "train_loss", "peak_loss"]
    ] = np.inf
    table = range_table(points, untrained()).set_index("learning_rate")
    for rate, group in points.groupby("learning_rate"):
        row = table.loc[rate]
        assert row["loss"] == pytest.approx(group["val_loss"].mean())
        assert (row["low"], row["high"]) == (group["val_loss"].min(), group["val_loss"].max())
    assert table.loc[RATES[3], "diverged"] == pytest.approx(1 / 3)
    assert table.loc[RATES[4], "diverged"] == 0
    assert (table["seeds"] == 3).all()


def test_smoothing_is_weighted_regression() -> None:
    rng = np.random.default_rng(0)
    places, values, fine = np.log10(RATES), rng.normal(size=48), rng.random(48) < 0.8
    smooth = _smoothed(places, values, fine)
    assert np.isinf(smooth[~fine]).all()
    for index in np.flatnonzero(fine):
        weights = np.exp(-0.25 * ((places[fine] - places[index]) / 0.2) ** 2)  # polyfit squares them
        line = np.polyfit(places[fine] - places[index], values[fine], 1, w=weights)
        assert smooth[index] == pytest.approx(line[1])


@pytest.mark.parametrize(
    ("curve", "words"),
    [(lambda place: math.inf, "diverges: start lower"), (lambda place: START + 0.1, "below the untrained model's 2")],
)
def test_where_no_rate_helps_none_is_suggested(curve, words: str) -> None:  # type: ignore[no-untyped-def]
    points = runs(curve)
    found = suggest(points, untrained())
    assert (found.rate, found.best, found.largest_stable) == (None, None, None)
    assert words in found.reason
    assert range_curve(range_table(points, untrained()), found, untrained=START)._repr_png_()


def test_a_best_rate_at_the_end_of_the_range_is_said() -> None:
    falling = suggest(runs(lambda place: START - 0.1 * (place + 6)), untrained())
    assert "even the largest rate tried, 10, is stable" in falling.reason
    assert "test again with a higher `high`" in falling.reason
    rising = suggest(runs(lambda place: START - 0.1 * (2 - place)), untrained())
    assert "test again with a lower `low`" in rising.reason


def test_where_nothing_diverges_the_suggestion_is_no_lower_than_the_valley() -> None:
    """A loss that falls ever faster: half of the largest rate would be far from as good."""
    found = suggest(runs(lambda place: START - math.exp(place)), untrained())
    assert found.low is not None
    assert found.rate == found.high == found.largest_stable == RATES[-1]
    assert RATES[-1] / 2 < found.low
    assert found.reason.startswith("10 is the largest rate tried")
    assert "test again with a higher `high`" in found.reason
    # a valley that ends before the range does: its middle
    near = suggest(runs(lambda place: START - math.exp(-10 * (place - 0.8) ** 2)), untrained())
    assert near.low is not None
    assert near.high is not None
    assert near.low < near.rate < near.high < RATES[-1]  # type: ignore[operator]


def test_the_valley_the_table_and_the_figure_tell_the_same_number() -> None:
    # ups and downs that all seeds share
    points = runs(lambda place: valley(place) + 0.15 * (-1) ** round((place + 5) / 6 * 47))
    found, table = suggest(points, untrained()), range_table(points, untrained())
    smoothed = table.set_index("learning_rate")["smoothed"]
    assert found.loss == smoothed.min() == smoothed[found.best]
    assert found.low is not None
    assert found.high is not None
    assert found.margin is not None
    inside = table[table["learning_rate"].between(found.low, found.high)]
    assert (inside["smoothed"] <= found.loss + found.margin + 1e-12).all()
    assert f"within {found.margin:.2g} of its lowest, {found.loss:.3g}" in found.reason
    assert "smoothed over about 6 neighbouring rates" in found.reason
    # a rate within the valley that did worse by itself is named, not called as good
    worse = inside.loc[inside["loss"] > found.loss + found.margin, "learning_rate"]
    assert len(worse) > 0
    assert f"{len(worse)} of the {len(inside)} rates tried there ({worse.iloc[0]:.2g}" in found.reason
    (axes,) = range_curve(table, found, untrained=START).axes
    lines = {str(line.get_label()): line for line in axes.lines}
    np.testing.assert_array_equal(lines["the same, smoothed"].get_ydata(), table["smoothed"])
    assert lines[f"its lowest ({found.loss:.3g})"].get_ydata() == [found.loss]
    assert table["smoothed"].isna().equals(table["diverged"] > 0)


def test_negative_losses_and_single_seeds_are_fine() -> None:
    points = runs(lambda place: valley(place) - 3 if place < -0.5 else math.inf, seeds=1)
    found = suggest(points, {0: START - 3})
    assert math.log10(found.rate) == pytest.approx(-2, abs=0.05)  # type: ignore[arg-type]
    assert "one seed" in found.reason


def test_too_few_rates_are_refused() -> None:
    points = runs(valley)
    few = points[points["learning_rate"].isin(RATES[:4])]
    with pytest.raises(wb.RunError, match="at least 5 learning rates that were tried, there are 4"):
        suggest(few, untrained())


def test_the_figure_shows_the_valley_beside_huge_losses() -> None:
    points = runs(lambda place: valley(place, edge=9) if place < -0.5 else 1e12)
    found = suggest(points, untrained())
    figure = range_curve(
        range_table(points, untrained()), found, untrained=START, loss_label="squared error", steps=100
    )
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert low < 0.5 < START < high < 4
    assert axes.get_xscale() == "log"
    assert axes.get_ylabel() == "squared error"
    assert f"suggestion {found.rate:g}" in [line.get_label() for line in axes.lines]
    assert figure._repr_png_()
