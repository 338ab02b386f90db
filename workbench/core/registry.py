"""Tables of named choices: one table per choice, read by the menu, the check, the search, the log and the docs.

The tables stand here empty of implementations. The package fills in what is built in (`workbench.models`,
`workbench.training`, which `workbench/__init__.py` imports); these entries are the same for everybody. What users register
lies in a `UserChoices`: the functions `wb.register_*` fill the default one, each `Workbench` copies it when it is made and adds
its own `models`, and each run copies that of its Workbench when it is made. A name that is registered by default later is
copied by a Workbench when it is first used there; after that, registering it again changes nothing for this Workbench. Which
choices a lookup reads depends on whose code is running, see `UserChoices.active` and `Scoped`.
"""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from workbench.core.domains import Domain
from workbench.core.errors import ConfigError, Problem, did_you_mean
from workbench.core.kinds import KINDS

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "METRICS",
    "MODELS",
    "OPTIMIZERS",
    "SCHEDULES",
    "Entry",
    "Registry",
    "Scoped",
    "UserChoices",
    "elsewhere",
    "user_choices",
]

T = TypeVar("T")


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
    kinds: frozenset[str] = frozenset(KINDS)


class UserChoices:
    """The entries that users registered, by table and name, as one Workbench or one run sees them.

    former: earlier versions of builders by model name; they restore trials that were trained with them, and train none.
    origin: what was copied from the default ones. grows: whether names that are registered by default later are copied at
    their first use.
    """

    _made: ClassVar[weakref.WeakValueDictionary[int, UserChoices]] = weakref.WeakValueDictionary()
    _numbers = itertools.count()

    def __init__(
        self,
        entries: Mapping[str, Mapping[str, Entry[Any]]] | None = None,
        former: Mapping[str, tuple[Callable[..., Any], ...]] | None = None,
        origin: Mapping[str, Mapping[str, Entry[Any]]] | None = None,
        grows: bool = False,
    ) -> None:
        self.entries = {what: dict(own) for what, own in (entries or {}).items()}
        self.former = dict(former or {})
        self.origin = {what: dict(own) for what, own in (origin or {}).items()}
        self.grows = grows

    def copy(self) -> UserChoices:
        """The same entries; what is registered in one of the two later is not in the other."""
        return UserChoices(self.entries, self.former, self.origin)

    def for_workbench(self) -> UserChoices:
        """A copy that lookups outside of any Workbench find as well, as long as it lives: see `elsewhere`."""
        made = UserChoices(self.entries, self.former, self.entries, grows=True)
        self._made[next(self._numbers)] = made
        return made

    def replaced(self, what: str, name: str) -> tuple[Any, Any] | None:
        """Of a choice that was copied and has been registered again by default since: what it was and what it is now."""
        own, now = (made.entries.get(what, {}).get(name) for made in (self, _DEFAULT))
        if own is None or now is None or own.value is now.value or own is not self.origin.get(what, {}).get(name):
            return None
        return own.value, now.value

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have all lookups and registrations in the block, on this thread, use these entries."""
        token = _ACTIVE.set(self)
        try:
            yield
        finally:
            _ACTIVE.reset(token)


_DEFAULT = UserChoices()
_ACTIVE: ContextVar[UserChoices] = ContextVar("workbench_user_choices", default=_DEFAULT)


def user_choices() -> UserChoices:
    """The entries in use: those of the Workbench or run whose code is running, else the default ones."""
    return _ACTIVE.get()


def elsewhere() -> list[UserChoices]:
    """Where a name may be known that is not registered by default: the living Workbenches, the newest first.

    Empty while the code of a Workbench or run is running, which knows its own entries only. Outside, a name as in
    `wb.Config(model="mine")` may be that of several Workbenches; the call that receives the Config checks it by its own entries.
    """
    if _ACTIVE.get() is not _DEFAULT:
        return []
    return [made for _, made in sorted(UserChoices._made.items(), reverse=True)]


class Registry(Mapping[str, Entry[T]]):
    """A table of choices by name: the built-in ones, then those of the active `UserChoices`, in order of registration."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._built_in: dict[str, Entry[T]] = {}

    @property
    def _own(self) -> dict[str, Entry[T]]:
        return _ACTIVE.get().entries.setdefault(self.what, {})

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
        built_in: bool = False,
    ) -> T:
        """Add a choice, or replace the one of that name (a notebook cell is run more than once).

        built_in: whether every Workbench and run has it, those included that exist already.
        """
        if not isinstance(name, str) or not name.isidentifier():
            message = f"{self.what} name {name!r} must be a Python identifier such as 'my_{self.what}'"
            raise ConfigError([Problem("name", name, message)])
        own = dict(parameters or {})
        (self._built_in if built_in else self._own)[name] = Entry(
            name, value, label or name, meaning, frozenset(uses) | own.keys(), own, frozenset(kinds)
        )
        return value

    def unregister(self, name: str) -> None:
        """Remove a choice; unknown names are ignored."""
        self._built_in.pop(name, None)
        self._own.pop(name, None)

    def is_built_in(self, name: str) -> bool:
        """Whether a choice is one of everybody's rather than of the active `UserChoices`."""
        return name in self._built_in

    def _find(self, name: object) -> Entry[T] | None:
        if not isinstance(name, str):
            return None
        found = self._own.get(name) or self._built_in.get(name)
        active = _ACTIVE.get()
        if found is None and active.grows and (found := _DEFAULT.entries.get(self.what, {}).get(name)):
            active.entries[self.what][name] = active.origin.setdefault(self.what, {})[name] = found
        if found is None:
            found = next((e for made in elsewhere() if (e := made.entries.get(self.what, {}).get(name))), None)
        return found

    def __getitem__(self, name: str) -> Entry[T]:
        found = self._find(name)
        if found is None:
            message = f"unknown {self.what} {name!r}{did_you_mean(name, self)}"
            raise ConfigError([Problem(self.what, name, message)])
        return found

    def __contains__(self, name: object) -> bool:
        return self._find(name) is not None

    def __iter__(self) -> Iterator[str]:
        late = _DEFAULT.entries.get(self.what, {}) if _ACTIVE.get().grows else {}
        return iter({**self._built_in, **late, **self._own})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def suited_to(self, kind: str) -> list[str]:
        """The names that suit a kind of task (see `core.kinds`)."""
        return [name for name, entry in self.items() if kind in entry.kinds]


class Scoped:
    """Base of the objects that users hold: their public methods look names up in the choices of the Workbench they belong to.

    choices: set by the constructor, or by default those that were active when the object was made.
    """

    choices: UserChoices

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__new__(cls)
        made.choices = user_choices()
        return made

    def _scoped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A callback for others to call, with the same choices."""

        def scoped(*args: Any, **kwargs: Any) -> Any:
            with self.choices.active():
                return function(*args, **kwargs)

        return scoped

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in list(vars(cls).items()):
            if name.startswith("_") and not name.startswith(("_repr_", "_ipython_")):
                continue
            if isinstance(value, property):
                get, put, remove = (part and _in_scope(part) for part in (value.fget, value.fset, value.fdel))
                setattr(cls, name, property(get, put, remove, value.__doc__))
            elif callable(value) and not isinstance(value, (type, staticmethod)):
                setattr(cls, name, _in_scope(value))


def _in_scope(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def scoped(self: Scoped, *args: Any, **kwargs: Any) -> Any:
        with self.choices.active():
            return function(self, *args, **kwargs)

    return scoped


MODELS: Registry[Any] = Registry("model")
ACTIVATIONS: Registry[Any] = Registry("activation")
LOSSES: Registry[Any] = Registry("loss")
OPTIMIZERS: Registry[Any] = Registry("optimizer")
SCHEDULES: Registry[Any] = Registry("schedule")
METRICS: Registry[Any] = Registry("metric")
