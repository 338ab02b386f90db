"""A condition between hyperparameters that every configuration of a search has to satisfy."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Callable
from typing import Any

from workbench.core.config import Config
from workbench.core.errors import ConfigError, Problem, RunError

__all__ = ["Constraint", "ConstraintError"]


class ConstraintError(RunError):
    """A constraint raised, or answered neither True nor False."""


class Constraint:
    """A function of a Config that says whether a search may try it.

    function: `function(config) -> bool`. text: its source, for messages and the log.
    Raises: ConfigError for anything that cannot be called.
    """

    def __init__(self, function: Callable[[Config], Any]) -> None:
        if not callable(function) or isinstance(function, type):
            message = f"where={function!r}: give a function of a Config, such as where=lambda c: c.hidden_units < 256"
            raise ConfigError([Problem("where", function, message)])
        self.function = function
        self.text = _text(function)

    def allows(self, config: Config) -> bool:
        """Whether a configuration satisfies it. Raises: ConstraintError naming the configuration."""
        try:
            answer = self.function(config)
        except Exception as error:
            message = f"where={self.text} raised {type(error).__name__}: {error} for {config!r}"
            raise ConstraintError(
                f"{message}; a hyperparameter of one model only: getattr(c, name, default)"
            ) from error
        if isinstance(answer, bool) or type(answer).__name__ in ("bool", "bool_"):
            return bool(answer)
        message = f"where={self.text} returned {answer!r} for {config!r}; return True or False"
        raise ConstraintError(message)

    def __repr__(self) -> str:
        return self.text


def _text(function: Callable[..., Any]) -> str:
    """The source of a function in one text; its name where there is none."""
    if not isinstance(function, types.FunctionType):
        return repr(function)
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return function.__qualname__
    if function.__name__ != "<lambda>":
        return source.strip()
    return _lambda(source, function) or function.__qualname__


def _lambda(source: str, function: types.FunctionType) -> str | None:
    """The lambda in some lines of source that compiles to the function, which may be one of several there."""
    start = source.find("lambda")
    while start >= 0:
        for end in range(len(source), start, -1):
            text = f"({source[start:end]})"
            try:
                tree = ast.parse(text, mode="eval")
            except (SyntaxError, ValueError):
                continue
            if isinstance(tree.body, ast.Lambda):
                codes = [one for one in compile(tree, "", "eval").co_consts if isinstance(one, types.CodeType)]
                # a name of an enclosing function is a cell there and a global here, so that the codes differ
                if any(one.co_code == function.__code__.co_code for one in codes) or function.__code__.co_freevars:
                    return ast.unparse(tree.body)
        start = source.find("lambda", start + 1)
    return None
