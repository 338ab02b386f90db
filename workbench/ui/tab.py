"""A tab under the charts: its title, how its body is made, and how it is brought up to date."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

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
        """Whether bringing it up to date costs so little that it is done whenever the table is, while trials train."""
        return True

    def tick(self, *, in_front: bool) -> None:
        """Show how far work under way is; called some times a second."""

    def configured(self, config: Config | ConfigError, *, in_front: bool) -> list[str]:
        """The controls have changed, to a configuration or an error. Returns calls of the same in Python, for the code tab."""
        return []


B = TypeVar("B", bound=TabBody)


@dataclass(frozen=True)
class Tab(Generic[B]):
    """One tab. `Workbench` hands the view a list of them, and nothing else knows their titles or their number.

    build: makes the body, given the presenter, when the tab is first looked at. refresh: brings it up to date, when it comes to
    the front and when the log has changed meanwhile. early: whether the body is made with the view. follows_selection: whether
    it is brought up to date when other trials are selected. searches: whether it comes to the front when a hyperparameter is to
    be searched in another range.
    """

    title: str
    build: Callable[[Presenter], B]
    refresh: Callable[[B], object] = lambda body: None
    early: bool = False
    follows_selection: bool = False
    searches: bool = False
