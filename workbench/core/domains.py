"""The values a hyperparameter may take: the ranges and choices used in declarations, searches and model signatures.

A domain is declared once and used everywhere: it checks values, determines the control in the user interface, and is what a
search samples from. The same four classes describe a built-in hyperparameter, a keyword-only
parameter of the user's own model, and a search space::

    wb.LogRange(1e-4, 1e-1)
    def build(task, *, width=wb.IntRange(8, 256, default=64), kernel=wb.Choice(3, 5)): ...
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from types import NoneType
from typing import Any, Literal, get_args

from workbench.core.errors import ConfigError, Problem, nearest

__all__ = ["Choice", "Domain", "IntRange", "LogRange", "Range", "Scale", "ambiguous", "finite", "frozen", "listed"]

Scale = Literal["linear", "log", "power2"]


def finite(value: object) -> float | None:
    """`value` as a finite float, None when it is not one. A bool is no number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def listed(value: object) -> list[Any] | None:
    """The values of a list, tuple, range, or array or column in one dimension, as plain Python values; None for anything else."""
    if isinstance(value, (list, tuple, range)):
        return list(value)
    if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist"):
        return list(value.tolist())
    return None


def frozen(value: object) -> Any:
    """A value with tuples in place of lists, as JSON reads them back, and plain numbers in place of numpy's."""
    if isinstance(value, (list, tuple)):
        return tuple(frozen(one) for one in value)
    is_numpys = type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0
    return value.item() if is_numpys and hasattr(value, "item") else value


def ambiguous(name: str, given: object) -> ConfigError | None:
    """The error for a tuple of two numbers, which may mean a range or two choices; None for anything else."""
    if not isinstance(given, tuple) or len(given) != 2:
        return None
    numbers = [finite(one) for one in given]
    if None in numbers or numbers[0] == numbers[1]:
        return None
    low, high = sorted(given)
    whole = all(isinstance(one, Integral) for one in given)
    kind = "IntRange" if whole else "LogRange" if low > 0 and high / low >= 10 else "Range"
    message = (
        f"{name}={given!r}: a tuple of two numbers may mean a range or two choices; write wb.{kind}({low!r}, {high!r}) for the "
        f"range, or the list {list(given)!r} for the choices"
    )
    return ConfigError([Problem(name, given, message)])


def _invalid(problem: str, name: str, value: object) -> ConfigError:
    return ConfigError([Problem(name, value, f"{name}={value!r}: {problem}")])


@dataclass(frozen=True)
class Range:
    """Real numbers from `low` to `high`, both included, evenly scaled.

    default: the value where none is given; the middle of the scale when None.
    Raises: ConfigError if a bound is not finite, low >= high, or the default lies outside.
    """

    low: float
    high: float
    default: float | None = None

    def __post_init__(self) -> None:
        low, high = finite(self.low), finite(self.high)
        name = type(self).__name__
        if low is None or high is None:
            raise _invalid("both bounds must be finite numbers", name, (self.low, self.high))
        if not low < high:
            raise _invalid(
                f"the lower bound must be below the upper; swap them: ({self.high}, {self.low})", name, (low, high)
            )
        if self.scale == "log" and low <= 0:
            raise _invalid("a logarithmic range must start above 0; try 1e-6, or a linear wb.Range", name, (low, high))
        if self.default is not None:
            self.check(self.default, "default")

    @property
    def scale(self) -> Scale:
        return "linear"

    @property
    def start(self) -> float:
        """The value to begin with: the default, else the middle of the scale."""
        if self.default is not None:
            return self.default
        return math.sqrt(self.low * self.high) if self.scale != "linear" else (self.low + self.high) / 2

    @property
    def description(self) -> str:
        """The rule in words, as it stands in an error message."""
        return f"a number from {self.low:g} to {self.high:g}"

    def check(self, value: object, name: str = "value") -> float:
        """`value` as a float inside the range. Raises: ConfigError naming `name`, the value and the rule."""
        number = finite(value)
        if number is None or not self.low <= number <= self.high:
            raise _invalid(f"must be {self.description}", name, value)
        return number


@dataclass(frozen=True)
class LogRange(Range):
    """Real numbers from `low` > 0 to `high`, evenly spread over their logarithm."""

    @property
    def scale(self) -> Scale:
        return "log"


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from `low` to `high`, both included.

    scale: "linear", "log" or "power2" (powers of two on a slider, any whole number when typed).
    """

    low: int
    high: int
    default: int | None = None
    scale: Scale = "linear"

    def __post_init__(self) -> None:
        for bound in (self.low, self.high):
            if not isinstance(bound, Integral) or finite(bound) is None:
                raise _invalid("both bounds must be whole numbers", "IntRange", (self.low, self.high))
        if not self.low < self.high:
            raise _invalid(
                f"the lower bound must be below the upper; swap them: ({self.high}, {self.low})",
                "IntRange",
                (self.low, self.high),
            )
        if not isinstance(self.scale, str) or self.scale not in get_args(Scale):
            raise _invalid(f"must be one of {', '.join(map(repr, get_args(Scale)))}", "scale", self.scale)
        if self.scale != "linear" and self.low <= 0:
            raise _invalid("a logarithmic range must start at 1 or above", "IntRange", (self.low, self.high))
        if self.default is not None:
            self.check(self.default, "default")

    @property
    def start(self) -> int:
        """The value to begin with: the default, else the middle of the scale."""
        if self.default is not None:
            return self.default
        middle = math.sqrt(self.low * self.high) if self.scale != "linear" else (self.low + self.high) / 2
        return round(middle)

    @property
    def description(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def check(self, value: object, name: str = "value") -> int:
        """`value` as an int inside the range; 32.0 counts as 32. Raises: ConfigError."""
        number = finite(value)
        if number is None or number != int(number) or not self.low <= number <= self.high:
            raise _invalid(f"must be {self.description}", name, value)
        return int(number)


@dataclass(frozen=True, init=False)
class Choice:
    """One of a few values (text, finite numbers, booleans, None, or tuples of these); the first is the default unless another
    is given.

    options: one by one, or all in one list, range or array. A list among several options counts as a tuple.
    Raises: ConfigError without an option, for an option of another type, or a default that is none of them.
    """

    options: tuple[Any, ...]
    default: Any

    def __init__(self, *options: Any, default: Any = None) -> None:
        found = listed(options[0]) if len(options) == 1 else None
        options = tuple(frozen(option) for option in (options if found is None else found))
        if not options:
            raise _invalid("name at least one option", "Choice", options)
        for option in options:
            if not _is_option(option):
                rule = "an option must be text, a finite number, a boolean, None, or a tuple of these"
                raise _invalid(rule, "Choice", option)
        default = frozen(default)
        if default is not None and not any(_equal(option, default) for option in options):
            raise _invalid(f"must be one of {', '.join(map(repr, options))}", "default", default)
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "default", options[0] if default is None else default)

    @property
    def start(self) -> Any:
        return self.default

    @property
    def description(self) -> str:
        return f"one of {', '.join(map(repr, self.options))}"

    def check(self, value: object, name: str = "value") -> Any:
        """The option equal to `value`; True is not taken for 1, and a list counts as the tuple that JSON made it from.

        Raises: ConfigError with a hint at the nearest option.
        """
        wanted = frozen(value)
        for option in self.options:
            if _equal(option, wanted):
                return option
        texts = [option for option in self.options if isinstance(option, str)]
        hint = nearest(value, texts) if isinstance(value, str) else ""
        raise _invalid(f"must be {self.description}{hint}", name, value)


def _is_option(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_option, value))
    return isinstance(value, (str, bool, NoneType)) or finite(value) is not None


def _equal(option: object, value: object) -> bool:
    """Whether two values are the same option. An array, which compares element by element, is none."""
    if isinstance(option, tuple) and isinstance(value, tuple):
        return len(option) == len(value) and all(map(_equal, option, value))
    plain = isinstance(value, (str, Real, NoneType))
    return plain and isinstance(option, bool) == isinstance(value, bool) and option == value


Domain = Range | IntRange | Choice
