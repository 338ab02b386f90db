"""Metrics that were computed after the training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from workbench.log import findings

__all__ = ["KIND", "fill_rescored"]

KIND = "rescore"


def fill_rescored(connection: Connection, values: dict[str, list[Any]], rows: Mapping[int, int]) -> None:
    """Add the metrics that were computed later to those at the best epoch, in place. rows: the row of each trial."""
    for finding in findings.read(connection, KIND, None):
        row = rows.get(int(finding.data["trial"]))
        if row is None or values["best_epoch"][row] != finding.data["epoch"]:
            continue
        later = {name: math.nan if value is None else value for name, value in finding.data["metrics"].items()}
        values["metrics"][row] = json.dumps({**json.loads(values["metrics"][row] or "{}"), **later})
