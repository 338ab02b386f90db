"""What the user interface may ask for."""

from __future__ import annotations

from typing import Any, Protocol

from workbench.core.config import Config

__all__ = ["Actions"]


class Actions(Protocol):
    """pause, resume, stop, set, pick, select and look_again are called on any thread and only enqueue, all else is called on the
    main thread, by a request of the dispatch. May raise WorkbenchError, which the view
    shows next to the control of the field it names, else under the buttons."""

    def start(self, config: Config, *, seeds: int, name: str, device: str) -> None: ...
    def look_again(self) -> None:
        """Bring the tab in front up to date, at the next refresh."""

    def pick(self, trial: int, epoch: int | None = None) -> None:
        """Open the branch bar at this point, by default the trial's best epoch, at the next refresh."""

    def branch(
        self, trial: int, epoch: int, changes: dict[str, Any], *, seeds: int, name: str, device: str
    ) -> None: ...
    def replay(self, trial: int) -> None: ...
    def resume_left(self) -> None:
        """Go on with what a kernel that died has left behind."""

    def delete(self, trials: list[int]) -> None: ...
    def restore(self, trials: list[int]) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self) -> None: ...
    def set(self, name: str, value: float) -> None:
        """Change a live hyperparameter of the run under way; without one, nothing happens."""

    def select(self, trials: list[int]) -> None:
        """These rows of the table are selected."""

    def annotate(self, trial: int, *, name: str | None, note: str | None, tags: list[str] | None) -> None: ...
