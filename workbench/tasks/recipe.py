"""The Python expression that makes a task again."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from workbench.tasks.split import Split, is_name

__all__ = ["Recipe"]


class Recipe(NamedTuple):
    """text: an expression in `import workbench as wb`. needs: the variables it takes data in memory from."""

    text: str = ""
    needs: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, maker: str, needs: tuple[str, ...], arguments: tuple[Any, ...], options: Mapping[str, Any],
        separate: Mapping[str, Any] | None = None,
    ) -> Recipe:  # fmt: skip
        """The call of a maker of `Task`: first the variables, then the positional arguments, then the options given.

        separate: validation and test data of their own, by option. A path is written out; data in memory get variables.
        """
        values = [_source(value) for value in arguments]
        variables = list(needs)
        named: list[str] = []
        for name, data in (separate or {}).items():
            if isinstance(data, (str, os.PathLike)):
                named.append(f"{name}={_source(data)}")
            elif data is not None:
                own = [f"{stem}_{name}" for stem in (needs or ("frame",))]
                variables += own
                named.append(f"{name}=({', '.join(own)})" if len(own) > 1 else f"{name}={own[0]}")
        for name, value in options.items():
            if isinstance(value, Split):
                text, own_values = value.source()
                variables += own_values
                named.append(f"{name}={text}")
            elif name == "weights" and not (value is None or is_name(value)):
                variables.append(name)
                named.append(f"{name}={name}")
            else:
                named.append(f"{name}={_source(value)}")
        return cls(f"wb.Task.{maker}({', '.join([*needs, *values, *named])})", tuple(variables))

    @classmethod
    def of_version(cls, former: Recipe, number: int, data: Any) -> Recipe:
        """The call of `Task.version` on the former task's expression. A path is written out; data in memory get a variable."""
        if not former.text:
            return cls()
        if isinstance(data, (str, os.PathLike)):
            return cls(f"{former.text}.version({_source(data)})", former.needs)
        several = isinstance(data, tuple)
        table = former.text.startswith(("wb.Task.from_frame", "wb.Task.from_csv"))
        stems = ("frame", "values") if table else ("X", "y", "values") if several else ("dataset",)
        needs = tuple(f"{stem}_{number}" for stem in (stems[: len(data)] if several else stems[:1]))
        given = f"({', '.join(needs)})" if several else needs[0]
        return cls(f"{former.text}.version({given})", (*former.needs, *needs))


def _source(value: Any) -> str:
    """A value as Python source, without the types of libraries where a plain one says the same."""
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, (np.ndarray, pd.Index)):
        value = value.tolist()
    elif isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_source, value))}{',' * (len(value) == 1)})"
    if isinstance(value, list):
        return f"[{', '.join(map(_source, value))}]"
    if isinstance(value, BaseEstimator) and type(value).__repr__ is BaseEstimator.__repr__:
        return str(value.__repr__(N_CHAR_MAX=sys.maxsize))  # the usual one is cut off after 700 characters
    return repr(value)
