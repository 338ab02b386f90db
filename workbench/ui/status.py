"""The state of the run on show in one record: what the line, the progress bar and the messages of the run panel show."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from workbench.core.config import Config
from workbench.core.direction import Better, rank
from workbench.core.events import ENDED, EpochEnd, TrialState
from workbench.core.text import in_sentence, rounded

__all__ = ["COLUMNS", "SearchProgress", "Shown", "Status", "duration", "run_status", "search_status"]

COLUMNS = ("train_loss", "val_loss", "train_metric", "val_metric")
ACTIVE = frozenset({"queued", "running", "paused"})
MIN_SHARE = 0.02
"""Below this share of a search, the time left is not estimated from its epochs."""


class SearchProgress(Protocol):
    """What is shown of a search; see `methods.search.campaign.Progress`."""

    planned: int | None
    done: int
    running: int
    pruned: int
    failed: int
    stopped: int
    seconds: float
    trials_per_second: float
    seconds_left: float | None
    best_trial: int | None
    best_value: float
    learned: int


@dataclass
class Shown:
    """One trial of the run on show. fixed_epochs: after which it ends, None for those of its configuration."""

    config: Config
    label: str
    group: str | None
    state: TrialState = TrialState.QUEUED
    epoch: int = 0
    fraction: float = 0.0  # of the epoch under way
    best: EpochEnd | None = None
    seconds: float = 0.0
    pace: float = 0.0  # recent epochs a second
    columns: tuple[str, ...] = COLUMNS
    fixed_epochs: int | None = None

    @property
    def epochs(self) -> int:
        """The epochs it is to train."""
        return self.config.epochs if self.fixed_epochs is None else self.fixed_epochs


@dataclass(frozen=True)
class Status:
    """What the panel shows. state: a trial state, "" before the first run. fraction: of the epoch under way, 0 to 1."""

    state: str = ""
    trials: tuple[int, ...] = ()
    epoch: int = 0
    epochs: int = 0
    fraction: float = 0.0
    seconds_left: float | None = None
    best_metric: float | None = None
    best_epoch: int | None = None
    best_trial: int | None = None
    selected: str = ""  # what selects the best epoch
    metric_label: str = ""
    message: str = ""
    queued: int = 0
    known: int = 0  # trials in the log
    verdict: str = ""  # about an ended run
    good: bool = False  # whether the verdict is a success
    search: str = ""  # of a search: its state as text, in place of the trial's
    share: float = 0.0  # of a search: how much is done
    held_up: bool = False  # whether a running cell blocks the kernel
    task: str = ""  # its name

    @property
    def active(self) -> bool:
        return self.state in ACTIVE


def run_status(trials: Mapping[int, Shown], better: Better = "higher", selected: str = "") -> Status:
    """The state of a run, by trial number: epoch and time left of the trial that is furthest behind, and the best of all.

    better: the direction of the headline metric, by which trials are compared. selected: what selects the epoch, in words.
    """
    if not trials:
        return Status()
    active = {trial: shown for trial, shown in trials.items() if shown.state not in ENDED}
    sample = min((active or trials).values(), key=lambda shown: shown.epoch)
    states = {shown.state for shown in (active or trials).values()}
    state = next(iter(states)) if len(states) == 1 else TrialState.RUNNING if active else TrialState.COMPLETED
    bests = [(trial, shown.best) for trial, shown in trials.items() if shown.best is not None]
    top, best = max(bests, key=lambda pair: rank(pair[1].val_metric, better), default=(None, None))
    left = None
    if active and sample.pace:
        left = (sample.epochs - sample.epoch - sample.fraction) / sample.pace
    return Status(
        state=state.value, trials=tuple(trials), epoch=sample.epoch, epochs=sample.epochs, fraction=sample.fraction,
        seconds_left=left, best_metric=None if best is None else best.val_metric,
        best_epoch=None if best is None else best.epoch, best_trial=top, selected=selected,
    )  # fmt: skip


def search_status(
    label: str, state: TrialState, progress: SearchProgress, trials: Mapping[int, Shown], metric_label: str
) -> Status:
    """The state of a search: counts, pace, time left and the best so far. trials: those in the charts."""
    planned = "" if progress.planned is None else f" of {progress.planned}"
    parts = [f"<b>{html.escape(label)}</b> {state.value}", f"{progress.done}{planned} done"]
    counts = {"running": progress.running, "pruned": progress.pruned, "failed": progress.failed}
    counts["stopped"] = progress.stopped
    parts += [f"{count} {word}" for word, count in counts.items() if count]
    if progress.done:
        parts.append(f"{progress.trials_per_second:.3g} configurations/s")
    share = _share(progress, trials)
    known = progress.planned and share >= MIN_SHARE
    left = progress.seconds * (1 - share) / share if known else progress.seconds_left
    if state not in ENDED and left is not None:
        parts.append(f"{duration(left)} left")
    if progress.best_trial is not None:
        value = f"best {html.escape(in_sentence(metric_label))} <b>{rounded(progress.best_value)}</b>"
        parts.append(f"{value} (trial {progress.best_trial})")
    if progress.learned:
        parts.append(f"learns from {progress.learned} earlier trials")
    done = state in ENDED and state is not TrialState.STOPPED
    return Status(state=state.value, search=" · ".join(parts), share=1.0 if done else share)


def _share(progress: SearchProgress, trials: Mapping[int, Shown]) -> float:
    """The share of a search that is done, the epochs of its running trials included."""
    running = [shown for shown in trials.values() if shown.state not in ENDED]
    begun = sum(shown.epoch / shown.epochs for shown in running)
    if running:  # all seeds of a configuration count as one
        begun *= progress.running / len(running)
    return min(1.0, (progress.done + begun) / progress.planned) if progress.planned else 0.0


def duration(seconds: float) -> str:
    """A time as text."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
