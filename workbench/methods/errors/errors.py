"""The errors of a trial on training or validation rows: `bench.errors(7)`."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import ConfigError, Problem, RunError, SealError, did_you_mean
from workbench.methods.errors.answers import Answers, answers_of, truth_of
from workbench.methods.errors.report import report
from workbench.metrics.predictions import loss_entry
from workbench.runs.measured import Measured, measured
from workbench.tasks.inverse import OriginalInputs, original_inputs
from workbench.training import resolve_loss
from workbench.training.losses import loss_of

if TYPE_CHECKING:
    from workbench.core.config import Config
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
    folds: of a cross-validated trial, how many it has, else 0; fold: the one that is looked at, None for all of them: each row is
    then judged by the model of the fold that left it out (out-of-fold), with a column `fold`, and is listed once for each fold
    whose validation rows it is among (a splitter may leave a row out several times, or never).
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
    fold: int | None = None
    folds: int = 0

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
        if self.folds and self.fold is None:
            return f"Trial {self.trial} after its {which} on out-of-fold rows of {self.task!r}, {self.folds} folds"
        split = {"train": "training"}.get(self.split, self.split)
        whose = f"Trial {self.trial}" if self.fold is None else f"Fold {self.fold} of trial {self.trial}"
        return f"{whose} after its {which} on {split} rows of {self.task!r}"

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


def trial_errors(
    session: Session, trial: int, epoch: int | None, split: str, top: int, fold: int | None = None
) -> TrialErrors:
    """The errors of a trial's model after an epoch, by default its best. top: rows in `worst`. fold: see `TrialErrors`.

    Raises: SealError for the test split; ConfigError for any other that does not exist, or for the training rows of all folds;
    TaskError for a kind of task whose errors cannot be listed; RunError for a refit; as `Recall.model`.
    """
    check_split(split, trial)
    task, recall = session.task, session.recall
    recall.refits.check_measured(trial, "a look at its errors")
    folds = 0 if task.folds is None else len(task.folds)
    if folds and fold is None and split == "train":
        message = f"fold=None: the folds share their training rows; give fold=1 to {folds} for those of one"
        raise ConfigError([Problem("fold", fold, message)])
    parts = list(measured(recall, trial, epoch, fold=fold, split=split))
    epoch_shown = parts[0].model.epoch
    assert epoch_shown is not None
    config = resolve_loss(recall.config(trial, epoch_shown), task.kind)
    judged = [_judged(part, config) for part in parts]
    chances = [answers.probabilities for answers, _ in judged if answers.probabilities is not None]
    answers = Answers(
        np.concatenate([answers.values for answers, _ in judged]), np.concatenate(chances) if chances else None
    )
    found = report(
        task, np.concatenate([part.numbers for part in parts]), np.concatenate([truth_of(part.rows) for part in parts]),
        answers, np.concatenate([losses for _, losses in judged]),
    )  # fmt: skip
    if folds and fold is None:
        of = np.repeat([part.fold or 0 for part in parts], [len(part.rows) for part in parts])
        found.rows.insert(1, "fold", of[found.places])
    weights = [part.rows.weight.numpy() for part in parts if part.rows.weight is not None]
    if weights:
        found.rows["weight"] = np.concatenate(weights)[found.places]
    order = np.argsort(-np.where(np.isnan(found.badness), np.inf, found.badness), kind="stable")[:top]
    original = _original(parts, found.places[order])
    worst = found.rows.iloc[order].reset_index(drop=True)
    if original is not None and original.table is not None:
        names = {name: f"input {name}" for name in original.table if name in worst}
        worst = pd.concat([worst, original.table.rename(columns=names)], axis=1)
    best = epoch is None or epoch_shown == _best_epoch(session, trial)
    return TrialErrors(
        task=task.name, trial=trial, epoch=epoch_shown, best=best,
        split=split, kind=task.kind, rows=found.rows, worst=worst, summary=found.summary, sentences=found.sentences,
        confusion=found.confusion,
        per_class=found.per_class, calibration=found.calibration,
        inputs=None if original is None else original.values, inputs_exact=original is not None and original.exact,
        image=task.is_image, fold=fold, folds=folds,
    )  # fmt: skip


def _judged(part: Measured, config: Config) -> tuple[Answers, NDArray[np.float64]]:
    """What a model answers on its rows, and the loss of each."""
    rows, schema = part.rows, part.model.schema
    outputs = part.model.outputs(rows.x)
    targets = rows.y if loss_entry(config.loss, schema.kind).transformed else rows.target.to(rows.y.dtype)
    losses: NDArray[np.float64] = loss_of(config)[0](outputs, targets).detach().double().numpy()
    return answers_of(schema, config, outputs), losses


def _original(parts: Sequence[Measured], places: NDArray[np.int64]) -> OriginalInputs | None:
    """The inputs of some rows as the data had them, in this order. places: of the rows, counted on from part to part."""
    ends = np.cumsum([len(part.rows) for part in parts])
    of = np.searchsorted(ends, places, side="right")
    found = []
    for index in np.unique(of):
        rows = parts[index].rows
        own = original_inputs(parts[index].model.schema, rows.x[places[of == index] - (ends[index] - len(rows))])
        if own is None:
            return None
        found.append(own)
    back = np.argsort(np.argsort(of, kind="stable"))
    values = [own.values for own in found if own.values is not None]
    tables = [own.table for own in found if own.table is not None]
    return OriginalInputs(
        np.concatenate(values)[back] if values else None,
        pd.concat(tables, ignore_index=True).iloc[back].reset_index(drop=True) if tables else None,
        all(own.exact for own in found),
    )


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
