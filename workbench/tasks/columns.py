"""The columns of a table as numbers: missing values filled in, categories one-hot encoded or as codes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from torch import Tensor

from workbench.core.errors import TaskError, did_you_mean
from workbench.core.warn import callers_level
from workbench.tasks.estimators import from_tensor, to_tensor
from workbench.tasks.frames import as_numbers, is_number

__all__ = ["CATEGORIES", "Columns"]

CATEGORIES = ("one_hot", "codes")

SHOWN = 6
"""So many known values of a column are listed one by one."""

WHOLE = re.compile(r"-?\d+\.0")


class Columns:
    """A table as numbers (rows, inputs) float64: first its numeric columns, then the encoded ones.

    categories: "one_hot" (an unknown category is all zeros), or "codes": whole numbers from 1, 0 for an unknown category; those
    of an ordered pandas categorical are in its order, others in the order of their texts.
    """

    def __init__(self, categories: str) -> None:
        if not isinstance(categories, str) or categories not in CATEGORIES:
            names = " or ".join(map(repr, CATEGORIES))
            raise TaskError(f"categories={categories!r}: must be {names}{did_you_mean(str(categories), CATEGORIES)}")
        self.codes = categories == "codes"
        self.numeric: tuple[str, ...] = ()
        self.names: tuple[str, ...] = ()
        self._encoder: ColumnTransformer | None = None

    def fit(self, rows: pd.DataFrame, seen: pd.DataFrame | None = None) -> None:
        """Learn from the training rows. seen: rows whose categories count as known too.

        Raises: TaskError naming a column without a value.
        """
        self.numeric = tuple(name for name in rows if is_number(rows[name]))
        other = [name for name in rows if name not in self.numeric]
        for name in rows:
            if rows[name].isna().all():
                raise TaskError(f"column {name!r} has no value in the training split; drop it")
        if self.codes and not other:
            raise TaskError(
                "categories='codes': the table has no text, category or boolean column; leave the option out, or make one: "
                "df[name].astype('category')"
            )
        plain = self._plain(rows)
        wider = rows if seen is None else seen
        texts = plain if seen is None else self._plain(seen)
        known: Any = [np.sort(texts[name].dropna().unique().astype(object)) for name in other]
        encoder: Any = OneHotEncoder(
            categories="auto" if seen is None else known, handle_unknown="ignore", sparse_output=False
        )
        if self.codes:
            known = [_levels(wider[name], texts[name]) for name in other]
            encoder = OrdinalEncoder(categories=known, handle_unknown="use_encoded_value", unknown_value=-1)
        self._encoder = ColumnTransformer(
            [
                ("numeric", SimpleImputer(strategy="median"), list(self.numeric)),
                ("text", make_pipeline(SimpleImputer(strategy="most_frequent"), encoder), other),
            ],
            verbose_feature_names_out=False,
        ).fit(plain)
        self.names = tuple(str(name) for name in self._encoder.get_feature_names_out())

    def apply(self, rows: pd.DataFrame, *, warn: bool = False) -> NDArray[np.float64]:
        """Rows as numbers. warn: see `Preprocessing.apply`. Raises: TaskError for a column whose values are no numbers now."""
        assert self._encoder is not None
        plain = self._plain(rows)
        for name, known in self.known().items():
            plain[name] = _matched(rows[name], plain[name], known, warn)
        found = np.asarray(self._encoder.transform(plain), dtype=np.float64)
        if self.codes:
            found[:, len(self.numeric) :] += 1
        return found

    def known(self) -> dict[str, list[str]]:
        """The texts that are known of each encoded column."""
        assert self._encoder is not None
        for part, encoder, columns in self._encoder.transformers_:
            if part == "text" and len(columns):
                return dict(zip(columns, (list(known) for known in encoder[-1].categories_), strict=True))
        return {}

    def to_state(self) -> dict[str, Any]:
        """What was fitted, as plain values and tensors."""
        state = {"codes": self.codes, "numeric": self.numeric, "names": self.names}
        return {**state, "encoder": to_tensor(self._encoder, "the encoding of the columns")}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], trusted: Sequence[str]) -> Columns:
        """What `to_state` described. Raises: CheckpointError naming what is not `trusted`."""
        fitted = cls(CATEGORIES[int(state["codes"])])
        fitted.numeric, fitted.names = state["numeric"], state["names"]
        encoder: Tensor = state["encoder"]
        fitted._encoder = from_tensor(encoder, trusted, "the encoding of the columns")
        return fitted

    def _plain(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Columns in the types scikit-learn takes, as the training rows decided: float64 with NaN, or text with NaN."""
        plain = {}
        for name in frame:
            column = frame[name]
            if name in self.numeric:
                values = as_numbers(column)
                if np.isinf(values).any():
                    raise TaskError(f"column {name!r} has infinite values; replace them by NaN to have them filled in")
                plain[name] = values
            else:
                text = np.array([str(value) for value in column], dtype=object)
                text[column.isna().to_numpy()] = np.nan
                plain[name] = text
        return pd.DataFrame(plain, index=frame.index)


def _levels(column: pd.Series[Any], text: pd.Series[Any]) -> NDArray[Any]:
    """The categories of a column in the order of their codes: of an ordered one all that it declares."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype) and dtype.ordered:
        return np.array([str(value) for value in dtype.categories], dtype=object)
    return np.array(sorted(text.dropna().unique()), dtype=object)


def _matched(given: pd.Series[Any], text: pd.Series[Any], known: Sequence[str], warn: bool) -> NDArray[Any]:
    """The texts of a column's values, those of numbers and booleans as the training rows write the same value: a column of
    whole numbers is one of floats as soon as one is missing, and True may come back from a file as 1."""
    found: NDArray[Any] = text.to_numpy(dtype=object, copy=True)
    texts = set(known)
    present = np.flatnonzero(given.notna().to_numpy())
    strange = [row for row in present if found[row] not in texts]
    if not strange:
        return found
    plain = [_plain_text(category) for category in known]
    same = {one: category for one, category in zip(plain, known, strict=True) if plain.count(one) == 1}
    values = given.to_numpy(dtype=object)
    unknown = 0
    for row in strange:
        category = None if isinstance(values[row], str) else same.get(_plain_text(found[row]))
        unknown += category is None
        found[row] = found[row] if category is None else category
    if warn and unknown == len(present):
        shown = ", ".join(map(repr, known[:SHOWN])) + (f" and {len(known) - SHOWN} more" if len(known) > SHOWN else "")
        warnings.warn(
            f"column {given.name!r}: none of its values, such as {found[strange[0]]!r}, was in the training rows, so that the "
            f"model knows nothing of this column; it expects {shown}",
            UserWarning,
            stacklevel=callers_level(),
        )
    return found


def _plain_text(text: str) -> str:
    """One text for equal numbers and booleans: "10.0" is "10", "True" is "1"."""
    if text in ("True", "False"):
        return str(int(text == "True"))
    return str(int(float(text))) if WHOLE.fullmatch(text) else text
