"""The openings of sealed test sets: which rows were evaluated, and how often each was evaluated before."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.log.findings import Finding

__all__ = ["KIND", "Opening", "keys_as_text", "openings", "unseen"]

KIND = "opening"


class Opening(NamedTuple):
    """One evaluation on a test set. number: of the openings so far with any of the same rows; from 2 on the set is reused.

    keys: of the evaluated rows. seen: how many of them an earlier opening had evaluated.
    """

    finding: Finding
    keys: NDArray[np.uint64]
    number: int
    seen: int

    @property
    def stamp(self) -> str:
        """The label next to its score."""
        return "opened once" if self.number == 1 else f"reused ({self.number})"


def openings(findings: Sequence[Finding]) -> list[Opening]:
    """The openings among the findings of that kind, in order, each counted against those before it.

    Rows are identified by their keys: a test row that was evaluated stays so under another preprocessing, another split and a
    newer version of the data.
    """
    found: list[Opening] = []
    for finding in findings:
        keys = np.frombuffer(base64.b64decode(finding.data["keys"]), "<u8").astype(np.uint64)
        hits = [np.isin(keys, earlier.keys) for earlier in found]
        seen = int(np.logical_or.reduce(hits).sum()) if hits else 0
        found.append(Opening(finding, keys, 1 + sum(bool(hit.any()) for hit in hits), seen))
    return found


def unseen(keys: NDArray[np.uint64], earlier: Sequence[Opening]) -> NDArray[np.bool_]:
    """A mask of the rows, by their keys (rows,), that none of these openings has evaluated."""
    found = np.ones(len(keys), bool)
    for opening in earlier:
        found &= ~np.isin(keys, opening.keys)
    return found


def keys_as_text(keys: NDArray[np.uint64]) -> str:
    """Keys of rows for a finding: base64 of their bytes, little-endian."""
    return base64.b64encode(np.sort(keys).astype("<u8").tobytes()).decode()
