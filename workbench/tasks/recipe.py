"""The Python expression that makes a task again."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

__all__ = ["Recipe"]


class Recipe(NamedTuple):
    """text: an expression in `import workbench as wb`. needs: the variables it takes data in memory from."""

    text: str = ""
    needs: tuple[str, ...] = ()

    @classmethod
    def of(cls, maker: str, needs: tuple[str, ...], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Recipe:
        """The call of a maker of `Task`: first the variables, then the positional arguments, then the options given."""
        values = [_source(value) for value in arguments]
        named = [f"{name}={_source(value)}" for name, value in options.items()]
        return cls(f"wb.Task.{maker}({', '.join([*needs, *values, *named])})", needs)

    @classmethod
    def of_version(cls, former: Recipe, number: int, data: Any) -> Recipe:
        """The call of `Task.version` on the former task's expression. A path is written out; data in memory get a variable."""
        if not former.text:
            return cls()
        if isinstance(data, (str, os.PathLike)):
            return cls(f"{former.text}.version({_source(data)})", former.needs)
        pair, table = isinstance(data, tuple), isinstance(data, pd.DataFrame)
        stems = ("X", "y") if pair else ("frame",) if table else ("dataset",)
        needs = tuple(f"{stem}_{number}" for stem in stems)
        given = f"({', '.join(needs)})" if pair else needs[0]
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
