"""Which trials vote together, and how much too good that choice looks on the rows it was made on.

Pure functions on arrays. Answers are (members, rows, outputs) float64: probabilities of the classes or labels, or numbers in the
target's own unit. Votes are whole numbers, (members,): an ensemble's answer is the mean of its members', each counted so often.
Many choices are made at once: counts (draws, rows) say how often each row counts in each draw of a bootstrap, ones for the rows
as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.core.direction import better_of, sign
from workbench.core.errors import ModelError
from workbench.core.registry import METRICS
from workbench.metrics.evaluation import evaluate, evaluate_metric
from workbench.metrics.table import LEVEL, weighted_mean

__all__ = ["Estimate", "Scorer", "combined", "estimate", "greedy", "interval", "top_configurations"]

Array = NDArray[np.float64]
Votes = NDArray[np.int64]

DRAWS, FEWEST, WORK = 200, 50, 2e9
"""Draws of the bootstrap; fewer where they would take more than so many numbers in all, but never fewer than FEWEST."""

DIGITS = 12
"""Scores and losses are compared at so many decimals: what differs by rounding alone is a tie."""

LOWEST = np.finfo(np.float64).tiny
"""A probability of nothing at all is taken for this one, so that its logarithm is a number."""


class Scorer:
    """A metric and a loss over weighted rows. Scores are turned so that larger is better.

    groups: (rows,) the group of each row, None where rows stand alone: a bootstrap draws whole groups.
    targets: (rows,) class indices, or (rows, outputs) numbers in their own unit, or 0 and 1 by label. metric: a name in the
    metrics table. labels: whether targets are 0 and 1 by label. deviation: (outputs,) of the training targets.
    weights: (rows,), None for equal ones. folds: the places of the rows of each fold of a cross-validation: scores and losses
    are the means over the folds, like those of trials. The loss is the cross-entropy of the mean probabilities, or the mean
    squared error in units of the deviation.
    """

    def __init__(
        self,
        targets: NDArray[Any],
        metric: str,
        *,
        groups: NDArray[Any] | None = None,
        labels: bool = False,
        deviation: NDArray[Any] | float = 1.0,
        weights: Array | None = None,
        folds: Sequence[slice] = (),
    ) -> None:
        self.units = (
            np.arange(len(targets)) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
        )
        self.metric, self.targets, self.labels = metric, targets, labels
        self.classes = targets.dtype.kind == "i"
        self.weights, self._parts = weights, folds or (slice(None),)
        self.deviation = np.where(np.asarray(deviation) > 0, deviation, 1.0)
        self.sign = sign(better_of(metric))
        self._weighted = METRICS[metric].value.weighted

    def __call__(self, answers: Array, counts: Array) -> tuple[Array, Array]:
        """answers: (candidates, rows, outputs). counts: (draws, rows). Returns scores and losses (draws, candidates).

        NaN where a metric is none on these rows (R² of equal targets; one of the user's that raises on some of the rows). Raises:
        ModelError if a metric of the user's raises on all rows.
        """
        counts = counts if self.weights is None else counts * self.weights
        found = [self._on(answers[:, part], self.targets[part], counts[:, part]) for part in self._parts]
        scores, losses = (np.mean(values, axis=0) for values in zip(*found, strict=True))
        return scores.round(DIGITS), losses.round(DIGITS)

    def natural(self, scores: Array) -> Array:
        """Scores turned back into the metric's own direction."""
        return self.sign * scores

    def of_fold(self, index: int) -> Scorer:
        """That of the rows of one fold alone, by its index."""
        part = self._parts[index]
        weights = None if self.weights is None else self.weights[part]
        return Scorer(
            self.targets[part], self.metric, groups=self.units[part], labels=self.labels, deviation=self.deviation,
            weights=weights,
        )  # fmt: skip

    def _on(self, answers: Array, targets: NDArray[Any], counts: Array) -> tuple[Array, Array]:
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.classes:
                by_row = -np.log(np.maximum(answers[:, np.arange(len(targets)), targets], LOWEST))
            elif self.labels:
                by_row = -np.log(np.maximum(np.where(targets > 0, answers, 1 - answers), LOWEST)).mean(2)
            else:
                by_row = np.square((answers - targets) / self.deviation).mean(2)
            losses = weighted_mean(by_row, counts)
            if self._weighted is None:
                scores = self._by_draw(answers, targets, counts)
            else:
                scores = np.asarray(self._weighted(answers, targets, counts), np.float64)
        return self.sign * scores, losses

    def _by_draw(self, answers: Array, own: NDArray[Any], counts: Array) -> Array:
        """A metric without a form for many draws: by weights where it takes some, else on repeated rows."""
        outputs, targets = torch.from_numpy(answers), torch.from_numpy(own)
        found = np.full((len(counts), len(answers)), np.nan)
        if METRICS[self.metric].value.batched:
            everyone = targets.expand(len(answers), *targets.shape)
            for draw, count in enumerate(counts):
                weights = torch.from_numpy(count).expand(len(answers), -1)
                found[draw] = [one[self.metric] for one in evaluate([self.metric], outputs, everyone, weights)]
            return found
        weighted = self.weights is not None  # no whole numbers, by which rows could be repeated; the metric takes them
        for draw, count in enumerate(counts):
            drawn = np.flatnonzero(count) if weighted else np.repeat(np.arange(len(count)), count.astype(np.int64))
            rows, weighs = torch.from_numpy(drawn), torch.from_numpy(count[drawn]) if weighted else None
            for candidate in range(len(answers)) if len(rows) else ():
                try:
                    found[draw, candidate] = evaluate_metric(
                        self.metric, outputs[candidate][rows], targets[rows], weighs
                    )
                except ModelError:  # it may raise where a class is missing
                    if (count > 0).all():
                        raise
        return found


# --- choices ------------------------------------------------------------------------------------------------------------

Choice = Callable[[Array], Votes]
"""From counts (draws, rows) to the votes (draws, members) that are chosen on them."""


def combined(answers: Array, votes: Votes) -> Array:
    """The mean answer (rows, outputs), each member counted as often as it has votes."""
    chosen = np.flatnonzero(votes)
    total: Array = np.tensordot(votes[chosen].astype(np.float64), answers[chosen], axes=1) / votes.sum()
    return total


def top_configurations(
    answers: Array, scorer: Scorer, counts: Array, *, configurations: Sequence[int], top: int
) -> Votes:
    """One vote for the best trial of each of the `top` configurations with the best mean score over their trials (seeds).

    configurations: (members,), the same number for trials of one configuration, from 0. A tie of configurations goes to the
    lower number, as on the leaderboard; one of trials to the lower loss, then to who comes first.
    """
    scores, losses = scorer(answers, counts)
    of = np.eye(max(configurations) + 1)[np.asarray(configurations)]
    means = ((scores @ of) / of.sum(0)).round(DIGITS)
    best_configurations = _ranked(means, np.zeros_like(means))[:, :top]
    votes, order = np.zeros(scores.shape, np.int64), _ranked(scores, losses)
    numbers = np.asarray(configurations)[order]
    for draw in range(len(counts)):
        for configuration in best_configurations[draw]:
            votes[draw, order[draw, np.argmax(numbers[draw] == configuration)]] = 1
    return votes


def greedy(answers: Array, scorer: Scorer, counts: Array, *, size: int) -> Votes:
    """Ensemble selection with replacement (Caruana, Niculescu-Mizil, Crew and Ksikes 2004), up to `size` votes.

    It begins with the first n of the members sorted by their own score, n such that they score best together; then gives one
    vote after the other to the member whose vote makes the mean answer score best; and returns the best of all it passed
    through, the smallest of equals. Ties go to the lower loss, then to the member that comes first. So it never scores
    below the best single member. Votes that have a common divisor are divided by it: the mean is the same.
    """
    members = len(answers)
    order = _ranked(*scorer(answers, counts))
    starts = np.zeros((len(counts), members), np.int64)
    best = _Best(len(counts), members)
    numbers = np.arange(1, min(size, members) + 1)
    for draw in range(len(counts)):
        firsts = answers[order[draw, : len(numbers)]].cumsum(0) / numbers[:, None, None]
        scores, losses = scorer(firsts, counts[draw : draw + 1])
        n = int(_ranked(scores, losses)[0, 0])
        starts[draw, order[draw, : n + 1]] = 1
        best.offer(np.array([draw]), starts[[draw]], scores[:, n], losses[:, n])
    votes = starts
    while (growing := np.flatnonzero(votes.sum(1) < size)).size:
        for draws in _alike(votes, growing):
            sum_of = np.tensordot(votes[draws[0]].astype(np.float64), answers, axes=1)
            scores, losses = scorer((sum_of + answers) / (votes[draws[0]].sum() + 1), counts[draws])
            next_one = _ranked(scores, losses)[:, 0]
            votes[draws, next_one] += 1
            at = np.arange(len(draws)), next_one
            best.offer(draws, votes[draws], scores[at], losses[at])
    fewest: Votes = best.votes // np.gcd.reduce(best.votes, axis=1)[:, None]
    return fewest


class _Best:
    """The best votes met so far, of each draw."""

    def __init__(self, draws: int, members: int) -> None:
        self.votes = np.zeros((draws, members), np.int64)
        self._score, self._loss = np.full(draws, -np.inf), np.full(draws, np.inf)

    def offer(self, draws: NDArray[np.intp], votes: Votes, scores: Array, losses: Array) -> None:
        scores = np.where(np.isnan(scores), -np.inf, scores)
        first = self.votes[draws].sum(1) == 0
        equal = (scores == self._score[draws]) & (losses < self._loss[draws])
        better = first | (scores > self._score[draws]) | equal
        taken = draws[better]
        self.votes[taken], self._score[taken], self._loss[taken] = votes[better], scores[better], losses[better]


def _ranked(scores: Array, losses: Array) -> NDArray[np.intp]:
    """(draws, candidates) from the best on: by score, then by loss, then by place; what is no number comes last."""
    return np.lexsort((losses, -scores), axis=-1)  # which puts NaN last


def _alike(votes: Votes, draws: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The draws, those with the same votes together."""
    _, inverse = np.unique(votes[draws], axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    return [draws[inverse == number] for number in range(inverse.max() + 1)]


# --- what the choice owes to its rows -----------------------------------------------------------------------------------


class Estimate(NamedTuple):
    """What to expect of an ensemble on new rows, in the metric's own direction.

    score, loss: on the rows it was chosen on. corrected: the mean score, over the draws, of an ensemble chosen on a bootstrap
    sample of the rows, on the rows that are not in it. optimism: by how much `score` is better than `corrected`. low, high: the
    middle 95% of those scores. gain, gain_low, gain_high: the same for the ensemble's lead over the single member that is best on
    the same sample, positive when the ensemble is better. NaN what is not known. draws: how many.
    """

    score: float
    loss: float
    corrected: float = np.nan
    optimism: float = np.nan
    low: float = np.nan
    high: float = np.nan
    gain: float = np.nan
    gain_low: float = np.nan
    gain_high: float = np.nan
    draws: int = 0


def estimate(
    answers: Array, scorer: Scorer, votes: Votes, choose: Choice | None, *, work: float = 1.0, seed: int = 0
) -> Estimate:
    """Score an ensemble, and correct the score for having been chosen on the very same rows.

    choose: how it was chosen; None if not by these functions: then nothing is corrected, and low and high are the bootstrap's
    percentile interval of the score. work: passes over the answers that one choice takes, by which the draws are limited.

    The bootstrap is that of Tsamardinos, Greasidou and Borboudakis 2018 (BBC-CV) without its cross-validation: the members stay
    as they are, and only the choice among them is made again. Since a sample says less than all rows do, the correction is
    rather too large than too small where members differ, and exact where all are equally good; and since each draw is scored by
    about a third of the rows, the interval is rather too wide. What training itself owes to the rows, such as the epoch each
    member stopped at, is not in it.
    """
    scores, losses = scorer(combined(answers, votes)[None], np.ones((1, answers.shape[1])))
    own = Estimate(float(scorer.natural(scores)[0, 0]), float(losses[0, 0]))
    draws = int(np.clip(WORK / (answers.size * work), FEWEST, DRAWS))
    if not scorer.units.any():  # a single row, or group
        return own
    counts = _bootstrap(scorer, draws, seed)
    if choose is None:
        low, high = _middle(scorer.natural(_scores_of(answers, scorer, np.repeat(votes[None], draws, 0), counts)))
        return own._replace(low=low, high=high, draws=draws)
    outside = (counts == 0).astype(np.float64)
    counts, outside = counts[outside.any(1)], outside[outside.any(1)]  # with very few rows, some draws leave none out
    if not len(counts):
        return own
    chosen = _scores_of(answers, scorer, choose(counts), outside)
    single = _scores_of(answers, scorer, greedy(answers, scorer, counts, size=1), outside)
    known = np.isfinite(chosen) & np.isfinite(single)
    if not known.any():
        return own
    chosen, lead = chosen[known], (chosen - single)[known]
    corrected = float(chosen.mean())
    optimism = float(scores[0, 0]) - corrected
    low, high = _middle(scorer.natural(chosen))
    gain_low, gain_high = _middle(lead)
    return own._replace(
        corrected=float(scorer.natural(np.array(corrected))), optimism=optimism, low=low, high=high,
        gain=float(lead.mean()), gain_low=gain_low, gain_high=gain_high, draws=int(known.sum()),
    )  # fmt: skip


def interval(answers: Array, scorer: Scorer, *, draws: int = DRAWS, seed: int = 0) -> tuple[Array, Array, Array]:
    """Each member's score by itself with its 95% percentile interval over bootstrap samples of the rows: (members,) each.

    NaN ends where the metric is a number on no sample, or there is a single row or group.
    """
    scores, _ = scorer(answers, np.ones((1, answers.shape[1])))
    sampled, _ = scorer(answers, _bootstrap(scorer, draws, seed))
    ends = np.array([_middle(values) for values in scorer.natural(sampled).T])
    if not scorer.units.any():
        ends[:] = np.nan
    return scorer.natural(scores)[0], ends[:, 0], ends[:, 1]


def _bootstrap(scorer: Scorer, draws: int, seed: int) -> Array:
    """How often each row is drawn, with its group if it has one: (draws, rows)."""
    rng, count = np.random.default_rng(seed), int(scorer.units.max()) + 1
    drawn: Array = rng.multinomial(count, np.full(count, 1 / count), size=draws)[:, scorer.units].astype(np.float64)
    return drawn


def _scores_of(answers: Array, scorer: Scorer, votes: Votes, counts: Array) -> Array:
    """The score (draws,) of each draw's own ensemble on its own rows, larger is better."""
    scores = np.empty(len(votes))
    for draws in _alike(votes, np.arange(len(votes))):
        scores[draws] = scorer(combined(answers, votes[draws[0]])[None], counts[draws])[0][:, 0]
    return scores


def _middle(values: Array) -> tuple[float, float]:
    """The ends of the percentile interval at the confidence level."""
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
