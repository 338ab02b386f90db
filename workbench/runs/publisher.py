"""How a session publishes what happens: groups of events and notices, to callbacks that subscribe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.core.events import Event

__all__ = ["LogChanged", "Notice", "Publisher"]


@dataclass(frozen=True)
class LogChanged:
    """The log has changed otherwise than by an event. deleted, restored: trials moved to the trash, and out of it."""

    deleted: tuple[int, ...] = ()
    restored: tuple[int, ...] = ()


Notice = LogChanged
Callback = Callable[[Sequence[Event | Notice]], object]


class Publisher:
    """Hands groups of events and notices to all subscribers, in the order in which they subscribed."""

    def __init__(self) -> None:
        self._subscriptions: tuple[tuple[Callback, Callable[[], object] | None], ...] = ()

    def subscribe(self, callback: Callback, *, waiting: Callable[[], object] | None = None) -> Callable[[], None]:
        """Add a subscriber. callback: called on any thread; must only enqueue. waiting: what to do while a caller waits.

        Returns a function that ends the subscription.
        """
        one = (callback, waiting)
        self._subscriptions = (*self._subscriptions, one)

        def end() -> None:
            self._subscriptions = tuple(other for other in self._subscriptions if other is not one)

        return end

    def publish(self, group: Sequence[Event | Notice]) -> None:
        """Hand a group to every subscriber; an empty one means that work was queued or has ended. Any thread."""
        for callback, _ in self._subscriptions:
            callback(group)

    def keep_live(self) -> None:
        """Do what subscribers want done while a caller waits. Main thread only."""
        for _, waiting in self._subscriptions:
            if waiting is not None:
                waiting()
