"""What a task's training and validation rows look like: targets, classes, groups, sample rows. Test rows are only counted."""

from __future__ import annotations

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
    "class_sizes",
    "group_sizes",
    "imbalance",
    "preprocessing_words",
    "sample_pictures",
    "sample_table",
    "target_values",
]

OPEN = ("train", "validation")
SAMPLED, PICTURED = 8, 20
SHOWN = 4
"""So many columns are named in a sentence."""
UNEVEN = 3.0
"""A ratio of class sizes from which on accuracy alone says little."""


def class_sizes(task: Task) -> pd.DataFrame | None:
    """Rows of each class (of a dense task positions) or with each label: train, validation, and the share in both together.

    None for a task of numbers. The test rows are sealed: their classes are not counted.
    """
    names = task.classes
    if task.kind == "multilabel":
        names = tuple(str(name) for name in task.sample.targets.columns)
        counts = {split: getattr(task, split).target.numpy().sum(0).astype(int) for split in OPEN}
        whole = len(task.train) + len(task.validation)
    elif names is not None:
        classes = {split: getattr(task, split).target.numpy().ravel() for split in OPEN}
        counts = {split: np.bincount(own, minlength=len(names)) for split, own in classes.items()}
        whole = sum(len(own) for own in classes.values())
    else:
        return None
    frame = pd.DataFrame(counts, index=pd.Index(names, name="label" if task.kind == "multilabel" else "class"))
    frame["share"] = frame.sum(axis=1) / whole
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
    found = {}
    for split in OPEN:
        sizes = np.unique(task.groups[split], return_counts=True)[1]
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
    return {split: pd.DataFrame(getattr(task, split).target.numpy(), columns=names) for split in OPEN}


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
        values = target_values(task)
        rows = [] if values is None else values["train"].to_numpy()[places]
        said = [", ".join(f"{value:.4g}" for value in row) for row in rows]
    found = original_inputs(task.schema, task.train.x[places])
    return None if found is None else (found.values, said or [""] * len(places))


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
        if texts:
            found.append(
                f"{counted(len(texts), 'column')} of text ({_listed(texts)}): one input for each value (one-hot), missing ones "
                "become the most frequent."
            )
    if fitted.clip is not None:
        found.append(f"Numbers are held within the mean ± {fitted.clip:g} standard deviations.")
    if fitted.unfitted is not None:
        found.append(f"Transformed by {fitted.unfitted!r}.")
    if fitted.standardize:
        what = "All pixels together" if schema.is_image else "Each feature"
        found.append(f"{what}: standardized to mean 0 and standard deviation 1.")
    else:
        found.append("Not standardized.")
    found.append("All of it is fitted on the training rows alone.")
    return found


# ----------------------------------------------------------------------------------------------------------------------


def _texts(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame if not is_number(frame[name])]


def _listed(names: list[Any]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more
