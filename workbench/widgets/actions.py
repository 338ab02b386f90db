"""What the user interface may ask for."""

from __future__ import annotations

from typing import Any, Protocol

from workbench.domains import Domain
from workbench.hyperparameters import Config
from workbench.widgets.compare_panel import Look

__all__ = ["Actions"]


class Actions(Protocol):
    """Called from widget callbacks, on any thread: each call enqueues and returns. May raise WorkbenchError, which the view
    shows next to the control of the field it names, else under the buttons."""

    def start(self, config: Config, *, seeds: int, name: str, device: str) -> None: ...
    def search(
        self, space: dict[str, Domain], base: Config, *, name: str, device: str, options: dict[str, Any]
    ) -> None: ...
    def add_seeds(self, top: int, seeds: int) -> None: ...
    def look(self, look: Look) -> None:
        """Show this in the compare tab, at the next refresh."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self) -> None: ...
    def set(self, name: str, value: float) -> None:
        """Change a live hyperparameter of the run under way; without one, nothing happens."""

    def select(self, trials: list[int]) -> None:
        """These rows of the table are selected."""

    def annotate(self, trial: int, *, name: str | None, note: str | None, tags: list[str] | None) -> None: ...
