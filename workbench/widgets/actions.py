"""What the user interface may ask for."""

from __future__ import annotations

from typing import Protocol

from workbench.hyperparameters import Config

__all__ = ["Actions"]


class Actions(Protocol):
    """Called from widget callbacks, on any thread: each call enqueues and returns. May raise WorkbenchError, which the view
    shows next to the control of the field it names, else under the buttons."""

    def start(self, config: Config, *, seeds: int, name: str, device: str) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self) -> None: ...
    def set(self, name: str, value: float) -> None:
        """Change a live hyperparameter of the run under way; without one, nothing happens."""

    def select(self, trials: list[int]) -> None:
        """These rows of the table are selected."""

    def annotate(self, trial: int, *, name: str | None, note: str | None, tags: list[str] | None) -> None: ...
