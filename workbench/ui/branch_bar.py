"""The bar that a picked point opens: where a branch begins, and what it will change."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from workbench.core.config import HYPERPARAMETERS, Config
from workbench.ui.parts import make

__all__ = ["BranchBar", "Pick", "branch_call"]


@dataclass(frozen=True)
class Pick:
    """The point that was picked. before: the trial's configuration as it was after that epoch."""

    trial: int
    epoch: int
    before: Config

    @property
    def config(self) -> Config:
        """The configuration that the controls begin with: `before`, with twice the epochs where none would be left."""
        if self.before.epochs > self.epoch:
            return self.before
        most = HYPERPARAMETERS["epochs"].domain.high  # type: ignore[union-attr]
        return self.before.replace(epochs=int(min(2 * self.epoch, most)))

    def changes(self, config: Config) -> dict[str, Any]:
        """What a branch with this configuration changes: the new values by name."""
        old = self.before.model_dump()
        return {name: value for name, value in config.model_dump().items() if name not in old or old[name] != value}


class BranchBar:
    """Says where the branch begins and what it changes. branch, close: what its buttons do."""

    def __init__(self, branch: Callable[[], object], close: Callable[[], object]) -> None:
        self.pick: Pick | None = None
        self.words = make(widgets.HTML, classes="wb-bar-words")
        self.branch = make(
            widgets.Button,
            description="Branch",
            icon="code-fork",
            tooltip="Train on from this point, with these changes",
            classes="wb-train",
        )
        self.close = make(widgets.Button, icon="times", tooltip="Leave it", classes="wb-close")
        self.branch.on_click(lambda _: branch())
        self.close.on_click(lambda _: close())
        buttons = make(widgets.Box, [self.branch, self.close], classes="wb-buttons")
        self.widget = make(widgets.Box, [self.words, buttons], classes="wb-bar")

    def update(self, config: Config | None) -> None:
        """Show what a branch with the configuration in the controls changes. None: the controls show an impossible one."""
        pick = self.pick
        if pick is None:
            return
        if config is None:
            says = "not possible yet: see the marked controls"
        else:
            changes = pick.changes(config)
            says = ", ".join(_change(name, pick.before, value) for name, value in changes.items())
            if pick.config != pick.before and changes.keys() <= {"epochs"}:
                says = f"{says + ', since ' if says else ''}it had {pick.before.epochs} · change controls, then press Branch"
            says = says or "change controls, then press Branch"
        head = f"Branch from trial {pick.trial} after epoch {pick.epoch}"
        self.words.value = (
            f'<div role="status" title="{html.escape(f"{head}: {says}")}"><b>{head}</b><br>'
            f'<span class="wb-hint">{html.escape(says)}</span></div>'
        )


def _change(name: str, before: Config, new: Any) -> str:
    """One change in words."""
    old = before.model_dump().get(name)
    return f"{name.replace('_', ' ')} {_short(old)} → {_short(new)}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def branch_call(pick: Pick, config: Config, *, seeds: int = 1, name: str = "", device: str = "cpu") -> str:
    """The call of `bench.branch` as text; what is at its default is left out."""
    options = {"seeds": seeds, "name": name, "device": device}
    given = {key: value for key, value in options.items() if value != {"seeds": 1, "name": "", "device": "cpu"}[key]}
    arguments = [str(pick.trial), f"epoch={pick.epoch}"]
    arguments += [f"{key}={value!r}" for key, value in {**given, **pick.changes(config)}.items()]
    return f"run = bench.branch({', '.join(arguments)})"
