"""The builder of a model whose modules return several tensors, one of which is the output."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from workbench.core.errors import ConfigError, Problem

__all__ = ["Output"]


class Output:
    """A builder whose modules return several tensors, with the name of the one that is the output::

        models={"net": wb.Output(build, "scores")}

    build: `build(task, *, hyperparameters...) -> nn.Module`. name: a key or attribute of what the module returns, or a
    position in a tuple.
    """

    def __init__(self, build: Callable[..., Any], name: str | int) -> None:
        if not callable(build):
            message = f"build={build!r}: must be the function that builds the module"
            raise ConfigError([Problem("build", build, message)])
        if isinstance(name, bool) or not isinstance(name, (str, int)):
            message = f"output={name!r}: must be a key or attribute such as 'logits', or a position such as 0"
            raise ConfigError([Problem("output", name, message)])
        self.make, self.name, self.__doc__ = build, name, build.__doc__
        self.__signature__ = inspect.signature(build)

    def __call__(self, task: Any, **hyperparameters: Any) -> Any:
        return self.make(task, **hyperparameters)

    def __repr__(self) -> str:
        return f"Output({self.make!r}, {self.name!r})"
