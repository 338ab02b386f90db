"""Buttons, progress and messages of the current run."""

from __future__ import annotations

import html
from collections.abc import Callable

import ipywidgets as widgets

from workbench.core.text import counted, in_sentence, rounded
from workbench.ui.best_bar import BestBar
from workbench.ui.branch_bar import BranchBar
from workbench.ui.parts import button, labelled, make
from workbench.ui.status import Status, duration

__all__ = ["RunPanel"]

HINT = "Click a point of a curve to branch from it."
HELD_UP = "A running cell blocks the kernel; buttons respond when it finishes. To stop now, interrupt the kernel (■)."


class RunPanel:
    """Train, Pause/Resume, Stop; progress; below them messages that belong to no control, and the branch bar.

    resume: called by the button of the banner; must only enqueue. best: the line of the best trial.
    """

    def __init__(
        self, devices: list[str], bar: BranchBar, resume: Callable[[], object], best: BestBar | None = None
    ) -> None:
        self.train = button(
            "Train", "play", "Train a new trial with this configuration (T; ? lists all keys)", classes="wb-train"
        )
        self.pause = button("Pause", "pause", "Pause after the current step (P)", disabled=True, classes="wb-pause")
        self.stop = button(
            "Stop", "stop", "End the run; its finished epochs are kept (S)", disabled=True, classes="wb-stop"
        )
        self.name = make(
            widgets.Text, placeholder="name (optional)", tooltip="Name of the trial in the log", classes="wb-name"
        )
        self.seeds = make(
            widgets.BoundedIntText,
            1,
            min=1,
            max=1000,
            tooltip="Train the configuration with this many seeds together",
            classes="wb-seeds",
        )
        self.device = make(widgets.Dropdown, options=devices, value=devices[0], tooltip="Device to train on")
        self.progress = make(widgets.FloatProgress, 0.0, min=0.0, max=1.0, classes="wb-progress")
        self.line = make(widgets.HTML, classes="wb-status")
        self.message = make(widgets.HTML, classes="wb-message")
        buttons = make(widgets.Box, [self.train, self.pause, self.stop], classes="wb-buttons")
        options = make(
            widgets.Box,
            [self.name, labelled("seeds", self.seeds), labelled("device", self.device)],
            classes="wb-options",
        )
        top = make(widgets.Box, [buttons, options], classes="wb-toprow")
        self._bar = bar
        self._slot = make(widgets.VBox, [self.message], classes="wb-slot")
        line = [] if best is None else [best.widget]
        self._parts = (top, self.progress, self.line, *line, self._slot)
        self.widget = make(widgets.VBox, self._parts, classes="wb-panel")
        self.resume = button("Resume", "play", "Continue the interrupted training", classes="wb-resume")
        self.resume.on_click(lambda _: resume())
        self.banner = make(widgets.HTML)
        self._banner_box = make(widgets.Box, [self.banner, self.resume], classes="wb-banner")
        self.paused = False
        self._error = ""
        self._status = Status()
        self.update(Status())

    def update(self, status: Status) -> None:
        """Show the state of the run."""
        self.paused = status.state == "paused"
        self.pause.disabled = self.stop.disabled = not status.active
        self.pause.description, self.pause.icon = ("Resume", "play") if self.paused else ("Pause", "pause")
        self.train.description = "Train next" if status.active else "Train"
        done = (status.epoch + status.fraction) / status.epochs if status.epochs else 0.0
        done = status.share if status.search else done
        self.progress.value = min(done, 1.0)
        self.line.value = f'<div role="status">{_line(status)}</div>'
        self._status = status
        self._write()

    def open_bar(self, is_open: bool) -> None:
        """Show the branch bar, or take it away."""
        children = (self._bar.widget, self.message) if is_open else (self.message,)
        if self._slot.children != children:
            self._slot.children = children
        self._write()

    def show_left(self, trials: int, searches: int) -> None:
        """Offer to resume what was interrupted when a kernel died; without any, show no banner."""
        text = _left(trials, searches)
        self.banner.value = f'<div role="status">{text}</div>' if text else ""
        children = (self._banner_box, *self._parts) if text else self._parts
        if self.widget.children != children:
            self.widget.children = children

    def show_error(self, text: str) -> None:
        """Show the message of an error until the next click."""
        self._error = text
        self._write()

    def clear_error(self) -> None:
        self.show_error("")

    def _write(self) -> None:
        status = self._status
        lines = [("good" if status.good else "verdict", status.verdict)]
        kind = "error" if status.state == "failed" else "note"
        lines.append(("error", self._error) if self._error else (kind, status.message))
        if status.held_up:
            lines.append(("hint", HELD_UP))
        if status.state and not any(text for _, text in lines) and self._bar.widget not in self._slot.children:
            lines = [("hint", HINT)]
        self.message.value = "".join(
            f'<div class="wb-{kind}" role="{"alert" if kind == "error" else "note"}">{html.escape(text)}</div>'
            for kind, text in lines
            if text
        )


def _left(trials: int, searches: int) -> str:
    counts = [
        f"{count} {word}{'' if count == 1 else plural}"
        for count, word, plural in ((trials, "trial", "s"), (searches, "search", "es"))
        if count
    ]
    if not counts:
        return ""
    one = trials + searches == 1
    return f"<b>{' and '.join(counts)}</b> {'was' if one else 'were'} interrupted when {'its' if one else 'their'} kernel died."


def _line(status: Status) -> str:
    if not status.state:
        on = f" on {html.escape(status.task)}" if status.task else ""
        count = f"{counted(status.known, 'trial')}{on} in the log"
        return f"{count} · select rows in the table to draw them" if status.known else f"Nothing trained yet{on}"
    if status.search:
        waiting = f" · {status.queued} waiting" if status.queued else ""
        return f"{status.search}{waiting}"
    numbers = status.trials
    who = f"Trial {numbers[0]}" if len(numbers) == 1 else f"Trials {numbers[0]}-{numbers[-1]}" if numbers else ""
    parts = [f"<b>{who}</b> {html.escape(status.state.replace('_', ' '))}", f"epoch {status.epoch}/{status.epochs}"]
    if status.active and status.seconds_left is not None:
        parts.append(f"{duration(status.seconds_left)} left")
    if status.best_metric is not None:
        trial = f" (trial {status.best_trial})" if len(numbers) > 1 else ""
        label = html.escape(in_sentence(status.metric_label))
        selected = f" ({html.escape(status.selected)})" if status.selected else ""
        parts.append(f"best {label} <b>{rounded(status.best_metric)}</b> at epoch {status.best_epoch}{selected}{trial}")
    if status.queued:
        parts.append(f"{status.queued} waiting")
    return " · ".join(parts)
