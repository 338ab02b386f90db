"""A tab under the charts: its title, how its body is made, and how it is brought up to date."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from workbench.ui.bench import Bench

if TYPE_CHECKING:
    from workbench.core.config import Config
    from workbench.core.errors import ConfigError
    from workbench.ui.presenter import Presenter

__all__ = ["Tab", "TabBody"]


class TabBody:
    """What a tab shows. All methods are called on the main thread; a callback of a widget may run on any, and only enqueues.

    widget: what is displayed.
    """

    def __init__(self, widget: Any) -> None:
        self.widget = widget

    @property
    def cheap(self) -> bool:
        """Whether a refresh costs so little that it follows each refresh of the table while trials train."""
        return True

    def tick(self, *, in_front: bool) -> None:
        """Show the progress of work under way; called some times a second."""

    def configured(self, config: Config | ConfigError, *, in_front: bool) -> list[str]:
        """The controls have changed, to a configuration or an error. Returns the tab's calls as Python, for the code tab."""
        return []


W = TypeVar("W", bound=Bench, contravariant=True)
B = TypeVar("B", bound=TabBody)


@dataclass(frozen=True)
class Tab(Generic[W, B]):
    """One tab. `Workbench` hands the view a list of them; the view compares no titles and knows no number.

    build: makes the body when the tab is first shown, given the presenter and the workbench (in `W`, a protocol, a tab
    declares which calls it makes). refresh: brings the body up to date when the tab comes to the front and when the log has
    changed. early: make the body with the view. follows_selection: refresh when other trials are selected. searches: show
    the tab when a hyperparameter is to be searched in another range. diagnoses: show it when a trial is to be diagnosed.
    """

    title: str
    build: Callable[[Presenter, W], B]
    refresh: Callable[[B], object] = lambda body: None
    early: bool = False
    follows_selection: bool = False
    searches: bool = False
    diagnoses: bool = False
