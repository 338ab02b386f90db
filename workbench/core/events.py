"""What a training run reports: small frozen records, without torch, a database or a widget.

`trial` is the key the caller gave to the row it trains (the log's trial number). `epoch` counts finished epochs from 1,
`step` counts optimizer steps from 1. Losses and metrics are means over rows, with the weights of rows and classes if there are
any, and never rounded; NaN and infinity are legal values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = [
    "ENDED",
    "Branched",
    "CohortJoined",
    "CohortLeft",
    "EpochEnd",
    "Event",
    "KnobChanged",
    "Message",
    "Mismatch",
    "Scripted",
    "StateChanged",
    "StepProgress",
    "TrialEnded",
    "TrialState",
]


class TrialState(StrEnum):
    """Where a trial stands. The states in `ENDED` are final; an interrupted trial, whose process has died, can be resumed."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    EARLY_STOPPED = "early_stopped"
    PRUNED = "pruned"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


ENDED = frozenset(TrialState) - {TrialState.QUEUED, TrialState.RUNNING, TrialState.PAUSED, TrialState.INTERRUPTED}


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The trial starts (running at step 0), pauses, or goes on, between the steps `step` and `step + 1`."""

    trial: int
    state: TrialState
    step: int = 0


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far the current epoch is; sent a few times a second at most, for progress bars. Not kept in the log."""

    trial: int
    epoch: int  # the epoch under way, from 1
    step: int
    steps_per_epoch: int
    train_loss: float  # mean over the epoch so far


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """One finished epoch of one trial.

    train_loss: mean data loss over the epoch's batches, in training mode, without the penalty.
    penalty: λ1·Σ|w| + λ2·Σw² of the weights as they stand after the epoch.
    grad_norm: mean over the epoch's steps of the L2 norm of the whole gradient (penalty included, before clipping).
    learning_rate: the rate used in the epoch's last step, after the schedule.
    seconds: wall time of the epoch with its validation; in a cohort, of the cohort's epoch.
    train_metric, val_metric: the headline metric. metrics: (training, validation) value of each of the task's metrics, in the
    target's own unit; NaN for none. monitored: what selects the best epoch, turned so that lower is better; by default val_loss.
    folds: under a cross-validation, of which all numbers are means over the folds, the validation loss ("loss") and metrics of
    each fold.
    """

    trial: int
    epoch: int
    step: int
    train_loss: float
    penalty: float
    train_metric: float
    val_loss: float
    val_metric: float
    learning_rate: float
    grad_norm: float
    seconds: float
    metrics: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    monitored: float | None = None
    folds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.monitored is None:
            object.__setattr__(self, "monitored", self.val_loss)


@dataclass(frozen=True, slots=True)
class KnobChanged:
    """A live change of one hyperparameter: in force from optimizer step `step + 1` on, in epoch `epoch`."""

    trial: int
    epoch: int
    step: int
    name: str
    old: float
    new: float


@dataclass(frozen=True, slots=True)
class CohortJoined:
    """The trial takes a row of a cohort, whose checkpoints are kept under the number `series`.

    after: the cohort's epochs less the trial's, so that the state after the trial's epoch e is in the checkpoint that the
    series took after its epoch `after + e`. Below 0 for a branch, whose epochs count on from its parent's.
    rows: of the cohort.
    """

    trial: int
    series: int
    after: int
    rows: int = 1


@dataclass(frozen=True, slots=True)
class CohortLeft:
    """The cohort broke off: the trial has no row until it joins another one, alone or with fewer."""

    trial: int


@dataclass(frozen=True, slots=True)
class Branched:
    """The trial goes on from where `parent` stood after its epoch `epoch`. changes: old and new value by field of Config."""

    trial: int
    parent: int
    epoch: int
    changes: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Scripted:
    """The trial is started with live changes (step, name, value) to make by itself, and a step to stop after."""

    trial: int
    changes: Sequence[tuple[int, str, float]]
    stop_after: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """Something worth telling about a trial, e.g. why its cohort was not vectorised."""

    trial: int
    message: str


@dataclass(frozen=True, slots=True)
class Mismatch(Message):
    """The model that is built from a trial's best weights does not give the outputs that were measured with them."""


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """The last word on a trial. `best_*` are those of the epoch that the task's monitor selects (epoch 0: none yet).

    reason: why it ended, for people ("no improvement for 5 epochs", "training loss is inf at step 118"...).
    traceback: the Python traceback of a failed trial, else empty.
    """

    trial: int
    state: TrialState
    epochs_run: int
    step: int
    best_epoch: int
    best_val_loss: float
    best_val_metric: float
    seconds: float
    reason: str = ""
    traceback: str = ""


Event = (
    StateChanged
    | StepProgress
    | EpochEnd
    | KnobChanged
    | CohortJoined
    | CohortLeft
    | Branched
    | Scripted
    | Message
    | TrialEnded
)
