"""The bar that a click on a point opens: where a branch begins, and what it changes."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from workbench.core.config import HYPERPARAMETERS, Config
from workbench.ui.parts import button, make

__all__ = ["BranchBar", "Pick", "branch_call"]

HINT = "change controls, then press Branch"


@dataclass(frozen=True)
class Pick:
    """A point on a curve. before: the configuration of the trial after that epoch, live changes included."""

    trial: int
    epoch: int
    before: Config

    @property
    def config(self) -> Config:
        """The configuration for the controls: `before`, with twice the epochs if none would be left."""
        if self.before.epochs > self.epoch:
            return self.before
        most = HYPERPARAMETERS["epochs"].domain.high  # type: ignore[union-attr]
        return self.before.replace(epochs=int(min(2 * self.epoch, most)))

    def changes(self, config: Config) -> dict[str, Any]:
        """What a branch with this configuration changes: the new values by name."""
        old = self.before.model_dump()
        return {name: value for name, value in config.model_dump().items() if name not in old or old[name] != value}


class BranchBar:
    """Shows where the branch begins and what it changes. branch, close: called by its buttons; must only enqueue."""

    def __init__(self, branch: Callable[[], object], close: Callable[[], object]) -> None:
        self.pick: Pick | None = None
        self.text = make(widgets.HTML, classes="wb-bar-text")
        self.branch = button(
            "Branch", "code-fork", "Continue training from this point with these changes", classes="wb-train"
        )
        self.close = button(icon="times", tooltip="Close without branching", classes="wb-close")
        self.branch.on_click(lambda _: branch())
        self.close.on_click(lambda _: close())
        buttons = make(widgets.Box, [self.branch, self.close], classes="wb-buttons")
        self.widget = make(widgets.Box, [self.text, buttons], classes="wb-bar")

    def update(self, config: Config | None) -> None:
        """Show what a branch with the configuration in the controls changes. None: the controls show an impossible one."""
        pick = self.pick
        if pick is None:
            return
        if config is None:
            text = "not possible yet: see the marked controls"
        else:
            changes = pick.changes(config)
            text = ", ".join(_change(name, pick.before, value) for name, value in changes.items())
            if pick.config != pick.before and changes.keys() <= {"epochs"}:
                text += f"{', since ' if text else ''}the trial had {pick.before.epochs} · {HINT}"
            text = text or HINT
        head = f"Branch from trial {pick.trial} after epoch {pick.epoch}"
        self.text.value = (
            f'<div role="status" title="{html.escape(f"{head}: {text}")}"><b>{head}</b><br>'
            f'<span class="wb-hint">{html.escape(text)}</span></div>'
        )


def _change(name: str, before: Config, new: Any) -> str:
    """One change as text."""
    old = before.model_dump().get(name)
    return f"{name.replace('_', ' ')} {_short(old)} → {_short(new)}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def branch_call(pick: Pick, config: Config, *, seeds: int = 1, name: str = "", device: str = "cpu") -> str:
    """The call of `bench.branch` as text to paste into a cell, without arguments at their default."""
    options = [("seeds", seeds, 1), ("name", name, ""), ("device", device, "cpu")]
    given = {key: value for key, value, default in options if value != default}
    arguments = [str(pick.trial), f"epoch={pick.epoch}"]
    arguments += [f"{key}={value!r}" for key, value in {**given, **pick.changes(config)}.items()]
    return f"run = bench.branch({', '.join(arguments)})"
