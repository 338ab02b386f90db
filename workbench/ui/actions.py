"""What the user interface may ask for."""

from __future__ import annotations

from typing import Any, Protocol

from workbench.core.config import Config
from workbench.core.domains import Domain
from workbench.methods.comparison.tab import Look

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
    def empty_trash(self) -> tuple[list[int], list[int]]:
        """Returns the trials removed, and those kept."""

    def set_budget(self, size: int) -> None:
        """Bytes that the checkpoints may take."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self) -> None: ...
    def set(self, name: str, value: float) -> None:
        """Change a live hyperparameter of the run under way; without one, nothing happens."""

    def select(self, trials: list[int]) -> None:
        """These rows of the table are selected."""

    def annotate(self, trial: int, *, name: str | None, note: str | None, tags: list[str] | None) -> None: ...
    def look_inside(self, epoch: int | None) -> None:
        """Show the layers as they were after this epoch, None for the best one."""

    def open_test_set(self, key: tuple[str, int], again: bool, only_unseen: bool) -> None:
        """Measure ("trial", 7) or ("ensemble", 2) on the test split, or its rows that nobody has seen; the tab hears of it."""

    def ensemble(self, size: int, select: str | None) -> None:
        """Make an ensemble of the best; the compare tab hears of it."""

    def finetune(self, trial: int, config: Config, options: dict[str, Any]) -> None:
        """Fine-tune a trial with this configuration; the transfer tab hears of what cannot be."""

    def continue_on(self, data: str, options: dict[str, Any]) -> None:
        """Begin a new version of the task on the data that a text names; the transfer tab hears of it."""

    def stop_continuing(self) -> None: ...
    def try_it(self, trial: int, rule: str) -> None:
        """Start what a rule of the diagnosis prescribes for a trial."""

    def range_test(self, config: Config, device: str) -> None:
        """Find a learning rate for this configuration; the search tab hears of it."""

    def stop_range_test(self) -> None: ...
