"""Openings of a test set, counted against those before them by the rows they evaluated."""

from __future__ import annotations

import numpy as np

from workbench.log import Finding
from workbench.log.openings import KIND, keys_as_text, openings, unseen


def opened(*rows: int) -> Finding:
    keys = np.array(rows, np.uint64)
    return Finding(1, KIND, "f", {"keys": keys_as_text(keys)}, "")


def test_openings_are_counted_by_the_rows_they_share() -> None:
    found = openings([opened(1, 2, 3), opened(4, 5), opened(3, 4, 9), opened(1, 2, 3), opened(2**64 - 1)])
    assert [one.number for one in found] == [1, 1, 3, 3, 1]
    assert [one.seen for one in found] == [0, 0, 2, 3, 0]
    assert [one.stamp for one in found] == ["opened once", "opened once", "reused (3)", "reused (3)", "opened once"]
    assert unseen(np.array([1, 5, 6, 9], np.uint64), found[:2]).tolist() == [False, False, True, True]
    assert openings([]) == []
