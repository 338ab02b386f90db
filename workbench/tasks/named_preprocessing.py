"""The preprocessing of several inputs, each by its own rule, and how a task gets the one it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import TaskError
from workbench.tasks.columns import CATEGORIES
from workbench.tasks.inputs import TOKENS, NamedArrays
from workbench.tasks.preprocessing import Preprocessing
from workbench.tasks.rows import ONLY, InputRows

__all__ = ["NamedPreprocessing", "RawInputs", "preprocessing_from_state", "preprocessing_of"]

RawInputs: TypeAlias = NDArray[Any] | pd.DataFrame | NamedArrays
"""The raw inputs of a task: (rows, ...), a table, or several inputs by name."""


class NamedPreprocessing:
    """Several inputs by name, each with a `Preprocessing` of its own, to `InputRows`."""

    feature_names = None
    standardisation = None
    unfitted = None

    def __init__(self, parts: Mapping[str, Preprocessing]) -> None:
        self.parts = dict(parts)

    def fit(
        self,
        X: NamedArrays,
        targets: NDArray[Any],
        rows: NDArray[np.int64],
        seen: NDArray[np.int64] | None = None,
    ) -> None:
        """Learn from the training rows alone, of all the data."""
        for name, part in self.parts.items():
            part.fit(X.parts[name], targets, rows, seen)

    def store(self, X: NamedArrays, rows: NDArray[np.int64] | None = None, *, warn: bool = False) -> InputRows:
        """Some rows, or all, as a split keeps them. Raises: TaskError for what no float32 can hold."""
        kept, scales = {}, {}
        for name, part in self.parts.items():
            stored = part.store(X.parts[name], rows)
            if isinstance(stored, InputRows):
                kept[name], scales[name] = stored.parts[ONLY], stored.scales[ONLY]
            else:
                kept[name] = stored
        return InputRows(kept, scales)

    @property
    def standardize(self) -> bool:
        return any(part.standardize for part in self.parts.values())

    @property
    def clip(self) -> float | None:
        return next((part.clip for part in self.parts.values() if part.clip is not None), None)

    @property
    def inputs(self) -> dict[str, str]:
        """What a model is given, by name: "numbers" or "tokens"."""
        return {name: str(part.inputs) for name, part in self.parts.items()}

    @property
    def categories(self) -> dict[str, int]:
        """How many codes there are, 0 included, of each input of tokens."""
        return {name: part.vocabulary for name, part in self.parts.items() if part.tokens}

    def describe(self, shape: Mapping[str, tuple[int, ...]]) -> str:
        """How rows of these shapes are scaled, in words."""
        return "; ".join(f"{name}: {part.describe(shape[name])}" for name, part in self.parts.items())

    def to_state(self) -> dict[str, Any]:
        """What was fitted, as plain values and tensors."""
        return {"parts": {name: part.to_state() for name, part in self.parts.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], trusted: Sequence[str] = ()) -> NamedPreprocessing:
        """What `to_state` described."""
        return cls({name: Preprocessing.from_state(part, trusted) for name, part in state["parts"].items()})


def preprocessing_of(
    X: RawInputs, *, standardize: bool, clip: float | None, transform: Any, inputs: Any, categories: str
) -> Preprocessing | NamedPreprocessing:
    """The preprocessing that these inputs need, before its fit. Raises: TaskError for options that do not go together."""
    table = isinstance(X, pd.DataFrame)
    if not table and (not isinstance(categories, str) or categories != CATEGORIES[0]):
        Preprocessing(categories=categories)  # raises for an unknown word
        raise TaskError(
            f"categories={categories!r}: is for tables; use Task.from_frame, or inputs='tokens' for arrays of codes"
        )
    if table and not (isinstance(inputs, str) and inputs == "numbers"):
        raise TaskError(
            f"inputs={inputs!r}: is for arrays; use categories='codes' for the text columns of a table, or Task.from_arrays with "
            "df.to_numpy()"
        )
    if isinstance(X, NamedArrays):
        if transform is not None:
            raise TaskError(
                f"transform={transform!r}: takes one array of numbers, and there are several inputs; transform them before, on "
                "the training rows alone, or leave it out"
            )
        kinds = dict.fromkeys(X.parts, inputs) if isinstance(inputs, str) else dict(inputs)
        parts = {}
        for name in X.parts:
            tokens = kinds.get(name) == TOKENS
            parts[name] = Preprocessing(standardize=standardize, clip=None if tokens else clip, tokens=tokens)
        return NamedPreprocessing(parts)
    return Preprocessing(
        standardize=standardize, clip=clip, transform=transform, tokens=isinstance(inputs, str) and inputs == TOKENS,
        categories=categories,
    )  # fmt: skip


def preprocessing_from_state(
    state: Mapping[str, Any], trusted: Sequence[str] = ()
) -> Preprocessing | NamedPreprocessing:
    """What `to_state` described."""
    return (NamedPreprocessing if "parts" in state else Preprocessing).from_state(state, trusted)
