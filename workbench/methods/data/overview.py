"""What a task's training and validation rows look like: targets, classes, groups, sample rows. Test rows are only counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.text import counted
from workbench.tasks.frames import is_number
from workbench.tasks.inverse import original_inputs

if TYPE_CHECKING:
    from workbench.tasks import Task

__all__ = [
    "LABELS",
    "class_sizes",
    "group_sizes",
    "imbalance",
    "preprocessing_words",
    "sample_pictures",
    "sample_table",
    "target_values",
]

OPEN = ("train", "validation")
LABELS = {"train": "training", "validation": "validation", "open": "outside the test set"}
"""What rows are counted, by the columns of these tables: those of each split, or with folds all that are not sealed."""
SAMPLED, PICTURED = 8, 20
SHOWN = 4
"""So many columns are named in a sentence."""
UNEVEN = 3.0
"""A ratio of class sizes from which on accuracy alone says little."""


def class_sizes(task: Task) -> pd.DataFrame | None:
    """Rows of each class (of a dense task positions) or with each label: train, validation, and the share in both together.

    Under a cross-validation: open, all rows outside the test set, and fewest, in the validation rows of the fold that has the
    fewest of this class. None for a task of numbers. The test rows are sealed: their classes are not counted.
    """
    names, targets = task.classes, _targets(task)
    if task.kind == "multilabel":
        names = tuple(str(name) for name in task.sample.targets.columns)

        def count(targets: NDArray[Any]) -> NDArray[np.int64]:
            found: NDArray[np.int64] = targets.sum(0).astype(np.int64)
            return found

        whole = sum(len(own) for own in targets.values())
    elif names is not None:
        classes = len(names)

        def count(targets: NDArray[Any]) -> NDArray[np.int64]:
            found: NDArray[np.int64] = np.bincount(targets.ravel(), minlength=classes)
            return found

        whole = sum(own.size for own in targets.values())
    else:
        return None
    counts = {split: count(own) for split, own in targets.items()}
    frame = pd.DataFrame(counts, index=pd.Index(names, name="label" if task.kind == "multilabel" else "class"))
    frame["share"] = frame.sum(axis=1) / whole
    if task.folds is not None:
        frame["fewest"] = np.min([count(own.validation.target.numpy()) for own in task.folds.members], axis=0)
    return frame


def imbalance(sizes: pd.DataFrame) -> str:
    """What the sizes of the classes mean for the scores, "" where they are about equal."""
    largest, smallest = sizes["share"].idxmax(), sizes["share"].idxmin()
    most, least = float(sizes["share"].max()), float(sizes["share"].min())
    if most < UNEVEN * least:
        return ""
    return (
        f"Class {str(largest)!r} has {most / max(least, 1e-12):.3g} times the rows of {str(smallest)!r}: a model that always "
        f"answers {str(largest)!r} is right in {most:.0%} of the rows."
    )


def group_sizes(task: Task) -> pd.DataFrame | None:
    """Of a task whose rows belong to groups, by split: rows, groups, and the rows of the smallest, median and largest group.

    None for a task without groups.
    """
    if task.groups is None:
        return None
    found, groups = {}, task.groups
    if task.folds is not None:  # a fold trains on the groups that it does not validate
        groups = {"open": np.concatenate([groups[split] for split in OPEN])}
    for split, own in groups.items():
        sizes = np.unique(own, return_counts=True)[1]
        found[split] = {
            "rows": int(sizes.sum()), "groups": len(sizes), "smallest": int(sizes.min()), "median": float(np.median(sizes)),
            "largest": int(sizes.max()),
        }  # fmt: skip
    return pd.DataFrame.from_dict(found, orient="index")


def target_values(task: Task) -> dict[str, pd.DataFrame] | None:
    """Targets that are numbers in their own unit, by split, one column a target. None for classes and labels."""
    if task.classes is not None or task.kind == "multilabel":
        return None
    names = list(task.sample.targets.columns)
    return {split: pd.DataFrame(own, columns=names) for split, own in _targets(task).items()}


def sample_table(task: Task) -> pd.DataFrame | None:
    """Some raw training rows with their targets first; None for pictures, and rows of too many values to list."""
    sample = task.sample
    if task.is_image or set(sample.inputs.columns) == {"mean", "deviation"}:
        return None
    targets = sample.targets.head(SAMPLED)
    inputs = sample.inputs.head(SAMPLED)
    return pd.concat([targets, inputs.drop(columns=[name for name in inputs if name in targets])], axis=1)


def sample_pictures(task: Task) -> tuple[NDArray[np.float64], list[str]] | None:
    """Some training pictures (rows, channels, height, width), those of the classes in turn, and what each is of."""
    if not task.is_image:
        return None
    targets = task.train.target
    if task.classes is not None and targets.ndim == 1:
        order = np.arange(len(targets))
        rank = pd.Series(targets.numpy()).groupby(targets.numpy()).cumcount().to_numpy()
        places = np.lexsort((order, targets.numpy(), rank))[:PICTURED]
        said = [task.classes[index] for index in targets.numpy()[places]]
    else:
        places = np.arange(min(PICTURED, len(targets)))
        rows: Any = targets.numpy()[places] if target_values(task) is not None else []
        said = [", ".join(f"{value:.4g}" for value in row) for row in rows]
    found = original_inputs(task.schema, task.train.x[places])
    return None if found is None or found.values is None else (found.values, said or [""] * len(places))


def preprocessing_words(task: Task) -> list[str]:
    """What is done to the inputs before a model sees them, in sentences."""
    schema = task.schema
    fitted = schema.preprocessing
    found = []
    if schema.columns is not None:
        texts = _texts(task.sample.inputs)
        numbers = len(schema.columns) - len(texts)
        if numbers:
            found.append(f"{counted(numbers, 'column')} of numbers: missing values become the median.")
        encoded = "codes from 1, 0 for an unknown value" if schema.categories else "one input for each value (one-hot)"
        if texts:
            found.append(
                f"{counted(len(texts), 'column')} of text ({_listed(texts)}): {encoded}, missing ones become the most frequent."
            )
    if fitted.clip is not None:
        found.append(f"Numbers are held within the mean ± {fitted.clip:g} standard deviations.")
    if fitted.unfitted is not None:
        found.append(f"Transformed by {fitted.unfitted!r}.")
    named = isinstance(schema.input_shape, Mapping) and schema.columns is None
    found += [f"{words if named else words[0].upper() + words[1:]}." for words in schema.scaling]
    of = "" if task.folds is None else ", separately for each fold"
    found.append(f"All of it is fitted on the training rows alone{of}.")
    return found


# ----------------------------------------------------------------------------------------------------------------------


def _targets(task: Task) -> dict[str, NDArray[Any]]:
    """The targets of each split; under a cross-validation those of all rows outside the test set, once each."""
    if task.folds is None:
        return {split: getattr(task, split).target.numpy() for split in OPEN}
    parts = [(own.row_numbers[split], getattr(own, split).target) for own in task.folds.members for split in OPEN]
    _, first = np.unique(np.concatenate([numbers for numbers, _ in parts]), return_index=True)
    return {"open": np.concatenate([targets.numpy() for _, targets in parts])[first]}


def _texts(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame if not is_number(frame[name])]


def _listed(names: list[Any]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more
