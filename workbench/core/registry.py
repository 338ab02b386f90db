"""Tables of named choices: one table per choice, read by the menu, the check, the search, the log and the docs.

The tables stand here empty of implementations: each is filled by the package that implements its entries
(`workbench.models`, `workbench.training`), which `workbench/__init__.py` imports, and by the user's registration calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from workbench.core.domains import Domain
from workbench.core.errors import ConfigError, Problem, did_you_mean

__all__ = ["ACTIVATIONS", "LOSSES", "METRICS", "MODELS", "OPTIMIZERS", "SCHEDULES", "Entry", "Registry"]

T = TypeVar("T")
KINDS = frozenset({"classification", "regression"})


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One choice.

    value: what implements it. uses: the hyperparameters of `Config` it reads, so that the others of its kind can be
    hidden. parameters: hyperparameters of its own, which `Config` takes as long as this choice is made.
    kinds: the kinds of task it suits.
    """

    name: str
    value: T
    label: str
    meaning: str = ""
    uses: frozenset[str] = frozenset()
    parameters: Mapping[str, Domain] = field(default_factory=dict)
    kinds: frozenset[str] = KINDS


class Registry(Mapping[str, Entry[T]]):
    """A table of choices by name, in order of registration. Registering a name again replaces its entry."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._entries: dict[str, Entry[T]] = {}

    def register(
        self,
        name: str,
        value: T,
        *,
        label: str = "",
        meaning: str = "",
        uses: Iterable[str] = (),
        parameters: Mapping[str, Domain] | None = None,
        kinds: Iterable[str] = KINDS,
    ) -> T:
        """Add a choice, or replace the one of that name (a notebook cell is run more than once)."""
        if not isinstance(name, str) or not name.isidentifier():
            message = f"{self.what} name {name!r} must be a Python identifier such as 'my_{self.what}'"
            raise ConfigError([Problem("name", name, message)])
        own = dict(parameters or {})
        self._entries[name] = Entry(
            name, value, label or name, meaning, frozenset(uses) | own.keys(), own, frozenset(kinds)
        )
        return value

    def unregister(self, name: str) -> None:
        """Take a choice out again; unknown names are ignored."""
        self._entries.pop(name, None)

    def __getitem__(self, name: str) -> Entry[T]:
        try:
            return self._entries[name]
        except (KeyError, TypeError):
            message = f"unknown {self.what} {name!r}{did_you_mean(name, self._entries)}"
            raise ConfigError([Problem(self.what, name, message)]) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def suited_to(self, kind: str) -> list[str]:
        """The names that suit a kind of task ("classification" or "regression")."""
        return [name for name, entry in self._entries.items() if kind in entry.kinds]


MODELS: Registry[Any] = Registry("model")
ACTIVATIONS: Registry[Any] = Registry("activation")
LOSSES: Registry[Any] = Registry("loss")
OPTIMIZERS: Registry[Any] = Registry("optimizer")
SCHEDULES: Registry[Any] = Registry("schedule")
METRICS: Registry[Any] = Registry("metric")
