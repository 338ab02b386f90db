"""The openings of sealed test sets: whoever has looked, at which rows, and how often these were looked at before."""

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
    """number: of the openings so far that saw any of the same rows, this one included; from 2 on the test set is reused.

    keys: of the rows it saw. seen: how many of them an earlier one had seen.
    """

    finding: Finding
    keys: NDArray[np.uint64]
    number: int
    seen: int

    @property
    def stamp(self) -> str:
        """What stands beside its score wherever that is shown."""
        return "opened once" if self.number == 1 else f"reused ({self.number})"


def openings(findings: Sequence[Finding]) -> list[Opening]:
    """The openings among the findings of that kind, in order, each counted against those before it.

    Rows are told by their keys, so that neither another preprocessing, nor another division, nor a newer version of the data
    makes a test row that was seen unseen.
    """
    found: list[Opening] = []
    for finding in findings:
        keys = np.frombuffer(base64.b64decode(finding.data["keys"]), "<u8").astype(np.uint64)
        hits = [np.isin(keys, earlier.keys) for earlier in found]
        seen = int(np.logical_or.reduce(hits).sum()) if hits else 0
        found.append(Opening(finding, keys, 1 + sum(bool(hit.any()) for hit in hits), seen))
    return found


def unseen(keys: NDArray[np.uint64], earlier: Sequence[Opening]) -> NDArray[np.bool_]:
    """Which rows, by their keys (rows,), none of these openings has seen."""
    found = np.ones(len(keys), bool)
    for opening in earlier:
        found &= ~np.isin(keys, opening.keys)
    return found


def keys_as_text(keys: NDArray[np.uint64]) -> str:
    """Keys of rows for a finding: base64 of their bytes, little-endian."""
    return base64.b64encode(np.sort(keys).astype("<u8").tobytes()).decode()
