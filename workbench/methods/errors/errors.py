"""The errors of a trial on training or validation rows: `bench.errors(7)`."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import ConfigError, Problem, RunError, SealError, did_you_mean
from workbench.methods.errors.answers import answers_of, truth_of
from workbench.methods.errors.report import report
from workbench.metrics.predictions import loss_entry
from workbench.tasks.inverse import original_inputs
from workbench.training import resolve_loss
from workbench.training.losses import loss_of

if TYPE_CHECKING:
    from workbench.runs.session import Session
    from workbench.ui.figures import NotebookFigure

__all__ = ["OPEN_SPLITS", "TrialErrors", "kept_epochs", "trial_errors"]

OPEN_SPLITS = ("validation", "train")
PRINTED_ROWS, PRINTED_INPUTS = 8, 6
"""So many of the worst rows, and of their inputs, are printed."""


@dataclass(frozen=True, eq=False, repr=False)
class TrialErrors:
    """Where a trial's model is wrong, on the rows of one split.

    trial, epoch: whose weights; best: whether that is the trial's best epoch. split: "validation" or "train". kind: of task.
    rows: one row each row of the split (of several targets one for each of them), with `row`, its number in the data the task
    was made from, counted from 0 (validation rows given separately are counted on from the training rows); true; predicted
    (of a dense task how many of its positions are wrong); and for a classification `probability` of the predicted class and
    `loss`, by the trial's own loss, whose mean is the loss in the curves unless classes or rows have weights; for numbers
    `residual`, true minus predicted, in the target's unit. worst: the rows with the largest loss or |residual| first, with the
    columns of their inputs as the data had them (of several targets, residuals are compared in standard deviations of their
    target).
    Weights of classes and rows enter nothing here: rows are counted; those of the rows are a column `weight`.
    summary: of a classification rows, wrong, accuracy, balanced_accuracy, f1_macro, loss, calibration_error, brier; of numbers
    one row a target: rows, bias (above 0 where predictions are too high), rmse, mae, worst.
    confusion: counts by true (rows) and predicted class (columns); of several labels a row, the four counts of each label.
    per_class: support, predicted, precision, recall, f1. calibration: reliability bins of the probability of the predicted class
    (of labels: of each label), see `workbench.metrics.calibration`. These three are None for numbers, calibration also where
    the trial's loss gives no probabilities. sentences: the summary in words.
    inputs: those of the worst rows as an array (rows, *input_shape), in the units of the data if inputs_exact, else as the model
    takes them; None for several inputs. image: whether they are pictures (rows, channels, height, width).
    """

    task: str
    trial: int
    epoch: int
    best: bool
    split: str
    kind: str
    rows: pd.DataFrame
    worst: pd.DataFrame
    summary: pd.DataFrame
    sentences: tuple[str, ...]
    confusion: pd.DataFrame | None
    per_class: pd.DataFrame | None
    calibration: pd.DataFrame | None
    inputs: NDArray[np.float64] | None
    inputs_exact: bool
    image: bool

    def figure(self) -> NotebookFigure:
        """Confusion matrix and reliability, or residuals against predictions, as a matplotlib figure."""
        from workbench.methods.errors.figure import errors_figure

        return errors_figure(self)

    def pictures(self) -> NotebookFigure:
        """The worst rows of a task on pictures, with their true and predicted labels, as a matplotlib figure.

        Raises: RunError if the inputs are no pictures.
        """
        from workbench.methods.errors.figure import worst_pictures

        if not self.image or self.inputs is None:
            raise RunError(f"the inputs of {self.task!r} are no pictures; `worst` lists them as a table")
        return worst_pictures(self)

    @property
    def title(self) -> str:
        """Which model on which rows, in one sentence."""
        which = f"best epoch ({self.epoch})" if self.best else f"epoch {self.epoch}"
        split = {"train": "training"}.get(self.split, self.split)
        return f"Trial {self.trial} after its {which} on {split} rows of {self.task!r}"

    @property
    def description(self) -> list[str]:
        """The result in sentences."""
        first, *others = self.sentences
        return [f"{self.title}: {first}", *others]

    def __repr__(self) -> str:
        parts = ["\n".join(self.description)]
        if self.confusion is not None and len(self.confusion) <= 20:
            parts.append(f"Confusion matrix\n{self.confusion.to_string()}")
        if self.per_class is not None and len(self.per_class) <= 40:
            parts.append(self.per_class.to_string(float_format="{:.3f}".format))
        parts.append(f"Worst rows\n{self._printed().to_string(index=False)}")
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        said = "".join(f"<div>{html.escape(line)}</div>" for line in self.description)
        tables = []
        if self.confusion is not None and len(self.confusion) <= 20:
            tables.append(("Confusion matrix", self.confusion.to_html()))
        if self.per_class is not None and len(self.per_class) <= 40:
            tables.append(("Classes", self.per_class.to_html(float_format="{:.3f}".format)))
        tables.append(("Worst rows", self._printed().to_html(index=False)))
        return said + "".join(f"<h4>{heading}</h4>{table}" for heading, table in tables)

    def _printed(self) -> pd.DataFrame:
        own = [*self.rows.columns, *[name for name in self.worst if name not in self.rows][:PRINTED_INPUTS]]
        return self.worst[own].head(PRINTED_ROWS)


def trial_errors(session: Session, trial: int, epoch: int | None, split: str, top: int) -> TrialErrors:
    """The errors of a trial's model after an epoch, by default its best. top: rows in `worst`.

    Raises: SealError for the test split; ConfigError for any other that does not exist; TaskError for a kind of task whose
    errors cannot be listed; RunError for a refit; as `Recall.model`.
    """
    check_split(split, trial)
    task, recall = session.task, session.recall
    recall.refits.check_measured(trial, "a look at its errors")
    model = recall.model(trial, epoch)
    assert model.epoch is not None
    rows = task.train if split == "train" else task.validation
    config = resolve_loss(recall.config(trial, model.epoch), task.kind)
    outputs = model.outputs(rows.x)
    targets = rows.y if loss_entry(config.loss, task.kind).transformed else rows.target.to(rows.y.dtype)
    losses = loss_of(config)[0](outputs, targets).detach().double().numpy()
    found = report(task, task.row_numbers[split], truth_of(rows), answers_of(task, config, outputs), losses)
    if rows.weight is not None:
        found.rows["weight"] = rows.weight.numpy()[found.places]
    order = np.argsort(-np.where(np.isnan(found.badness), np.inf, found.badness), kind="stable")[:top]
    original = original_inputs(task.schema, rows.x[found.places[order]])
    worst = found.rows.iloc[order].reset_index(drop=True)
    if original is not None and original.table is not None:
        names = {name: f"input {name}" for name in original.table if name in worst}
        worst = pd.concat([worst, original.table.rename(columns=names)], axis=1)
    best = epoch is None or model.epoch == _best_epoch(session, trial)
    return TrialErrors(
        task=task.name, trial=trial, epoch=model.epoch, best=best,
        split=split, kind=task.kind, rows=found.rows, worst=worst, summary=found.summary, sentences=found.sentences,
        confusion=found.confusion,
        per_class=found.per_class, calibration=found.calibration,
        inputs=None if original is None else original.values, inputs_exact=original is not None and original.exact,
        image=task.is_image,
    )  # fmt: skip


def _best_epoch(session: Session, trial: int) -> int | None:
    try:
        return session.recall.best_epoch(trial)
    except RunError:  # no epoch with a finite loss
        return None


def check_split(split: object, trial: int) -> None:
    """Raises: SealError for the test split, ConfigError for anything but the open splits."""
    if isinstance(split, str) and split == "test":
        raise SealError(
            "split='test': the test rows are sealed, and their errors would steer the tuning; look at split='validation' or "
            f"'train', and at the end evaluate once with bench.open_test_set({trial})"
        )
    if not isinstance(split, str) or split not in OPEN_SPLITS:
        hint = did_you_mean(split, OPEN_SPLITS) if isinstance(split, str) else ""
        message = f"split={split!r}: must be 'validation' or 'train'{hint if 'mean' in hint else ''}"
        raise ConfigError([Problem("split", split, message)])


def kept_epochs(session: Session, trial: int) -> list[int]:
    """The epochs of a trial that have a checkpoint, ascending: those whose model needs no further training."""
    seat = session.log.history.cohorts(trial).get(trial)
    if seat is None:
        return []
    series, joined = seat
    last = session.log.curves(trial)["epoch"].max()
    return [number - joined for number in session.checkpoints.epochs(series) if joined < number <= joined + last]
