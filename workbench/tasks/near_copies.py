"""Warnings about rows that stand in two splits: copies, and rows that are nearly the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.core.text import counted
from workbench.tasks.rows import Inputs, ready
from workbench.tasks.split_rows import Rows

__all__ = ["are_continuous", "copy_warnings", "near_rows"]

CHECKED = 300
"""So many rows of a split, and training values, are compared: it takes less than 0.1 s."""
VALUES = 5_000_000
NEIGHBOURS = 100
FEWEST_INPUTS, FEW_VALUES = 3, 10
"""In the plane, rows of dense data lie as close as copies do; an input with fewer different values is discrete."""
LIKELY, UNLIKELY = 1e-4, 1e-6
"""The probability that the nearest row is so near, in data that are locally uniform."""
CLOSE = 0.05
"""Of the distance to the neighbours in general, that of a copy with small changes."""
APART = 0.2
"""Of the typical distance between neighbouring training rows: nearer than that is a copy, and not a row of the same cluster."""
MANY, FEW = 0.1, 0.01
"""Shares of the rows above which a warning is given: rows that are closer than likely, and such that are nearly copies."""
LEAST = 5
"""Fewer rows are a coincidence."""
REMEDY = "wb.Split.grouped keeps rows that belong together in one split."


def copy_warnings(
    keys: Mapping[str, NDArray[np.uint64]],
    train: Rows,
    others: Mapping[str, Rows],
    classes: int,
    folds: Sequence[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = (),
) -> tuple[str, ...]:
    """Sentences with the number of rows that are copies of training rows, or nearly.

    keys: of each row with its target, by split. others: rows by split. classes: their number, 0 for numbers. folds: the keys of
    training and validation rows of each, if there are folds; `train` and `others` are then those of the first one.
    """
    copies = {split: int(np.isin(keys[split], keys["train"]).sum()) for split in others}
    sizes = {split: len(keys[split]) for split in others}
    if folds:
        copies["validation"] = sum(int(np.isin(own, trained).sum()) for trained, own in folds)
        copies["test"] = int(np.isin(keys["test"], np.concatenate([own for fold in folds for own in fold])).sum())
        sizes["validation"] = sum(len(own) for _, own in folds)
    found = [f"{count:,} of {counted(sizes[split], f'{split} row')}" for split, count in copies.items() if count]
    if found:
        verb = "is a copy" if sum(copies.values()) == 1 else "are copies"
        says = f"{verb} of training rows, target included; scores on these say little of new rows"
        return (f"{' and '.join(found)} {says}. {REMEDY}",)
    near = {split: near_rows(train, rows, classes) for split, rows in others.items() if len(rows)}
    warnings = []
    for field, says in SAYS.items():
        counts = {split: (getattr(one, field), one.checked) for split, one in near.items()}
        found = [f"{count:,} of {checked:,} {split} rows" for split, (count, checked) in counts.items() if count]
        if found:
            warnings.append(f"{' and '.join(found)} {says}; scores on these say little of new rows. {REMEDY}")
    return tuple(warnings)


class Near(NamedTuple):
    """Rows that are suspiciously near to a training row. copies: nearly the same; alike: closer than is likely, 0 where there are
    copies. checked: rows that were compared."""

    copies: int
    alike: int
    checked: int


SAYS = {
    "copies": "are near-copies of training rows, which differ by small changes",
    "alike": "lie closer to a training row than the spread of the data explains, as rows of one person or device do",
}


@torch.no_grad()
def near_rows(train: Rows, rows: Rows, classes: int) -> Near:
    """How many rows are suspiciously near to a training row (of their class).

    Among k neighbours at distances d_1, ..., d_k in locally uniform data of dimension m, (d_1 / d_k)^m exceeds t with
    probability (1 - t)^(k - 1). m is estimated from the farther half of the neighbours, whose mean log(d_k / d_j) is
    (1 - ln 2) / m (Levina and Bickel 2004, for half of the neighbours), so that a cluster of near rows does not count.
    """
    continuous = _continuous(train)
    if int(continuous.sum()) < FEWEST_INPUTS:
        return Near(0, 0, 0)
    # both are in an order that has nothing to do with the values, so that the first ones are a sample
    count = max(1000, VALUES // len(continuous))
    x, y = _numbers(train.x[:count])[:, continuous], train.y[:count]
    others, labels = _numbers(rows.x[:CHECKED])[:, continuous], rows.y[:CHECKED]
    checked = likely = close = 0
    for label in range(classes) if classes and y.ndim == 1 else [None]:
        among = x if label is None else x[y == label]
        own = others if label is None else others[labels == label]
        if len(own) and len(among) >= 24:
            near, nearest, share = _probabilities(own, among)
            checked += len(own)
            likely += int((near < LIKELY).sum())
            close += int(((near < UNLIKELY) & (share < CLOSE) & (nearest < APART * _spacing(among))).sum())
    if close >= max(FEW * checked, LEAST):
        return Near(close, 0, checked)
    return Near(0, likely if likely >= max(MANY * checked, LEAST) else 0, checked)


def _numbers(x: Inputs) -> Tensor:
    """The numbers among the inputs of rows, as a model takes them (rows, values): tokens have no distance."""
    batch = ready(x)
    parts = batch.values() if isinstance(batch, dict) else [batch]
    numbers = [part.flatten(1) for part in parts if part.is_floating_point()]
    return torch.cat(numbers, 1) if numbers else torch.empty(len(x), 0)


def are_continuous(rows: Rows) -> bool:
    """Whether enough inputs have many values: rows of few categories or small counts are equal by chance."""
    return int(_continuous(rows).sum()) >= FEWEST_INPUTS


def _continuous(rows: Rows) -> Tensor:
    """Which inputs (values,) have many values. The others have no part in distances: the few rows of a rare category would all be
    near to each other, and far from the rest."""
    ordered = _numbers(rows.x[:1000]).sort(0).values
    return (ordered[1:] != ordered[:-1]).sum(0) >= FEW_VALUES


def _spacing(among: Tensor) -> Tensor:
    """The typical distance of a training row from the nearest other one: small where all rows lie in small clusters."""
    return torch.cdist(among[:CHECKED], among).topk(2, largest=False).values[:, 1].median()


def _probabilities(rows: Tensor, among: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each row, how probable it is that its nearest neighbour is so near, the distance, and its share of that of the last
    neighbour."""
    count = min(NEIGHBOURS, len(among) // 3)
    distances = torch.cdist(rows, among).topk(count, largest=False).values.double().clamp_min(1e-12)
    farther = torch.log(distances[:, -1:] / distances[:, count // 2 : -1]).mean(1)
    dimension = (1 - np.log(2)) / farther.clamp_min(1e-4)
    ratio = distances[:, 0] / distances[:, -1]
    return -torch.expm1((count - 1) * torch.log1p(-(ratio**dimension).clamp(max=1 - 1e-12))), distances[:, 0], ratio
