"""The versions of a task as the log knows them, and what each has changed for the configurations that were continued."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from workbench.core.registry import METRICS
from workbench.log import TrialLog
from workbench.methods.data_versions.drift import COLUMNS
from workbench.runs.session import Session

__all__ = [
    "CHANGES", "number_of", "plain", "plain_value", "typed", "version_changes", "version_drift", "versions",
]  # fmt: skip

CHANGES = [
    "trial", "reruns", "score", "old_model", "old_model_new_rows", "rerun", "low", "high", "seeds", "change", "change_low",
    "change_high", "beyond_noise", "verdict",
]  # fmt: skip
"""Columns of the table of configurations; see `Continuation.table`."""


def versions(session: Session) -> pd.DataFrame:
    """The versions of the session's task that the log knows, oldest first; see `Workbench.versions`."""
    found = _chain(session)
    rows: list[dict[str, Any]] = []
    for fingerprint, about in found.items():
        best = session.log.results.best(fingerprint, session.task.metric, METRICS[session.task.metric].value.better)
        rows.append({
            "version": about["version"], "current": fingerprint == session.task.fingerprint, "name": about["name"],
            **{split: about["sizes"][split] for split in ("train", "validation", "test")}, "new_rows": about["new_rows"],
            "moved": ", ".join(about["moved"]), "columns": about["columns"], "trials": session.log.results.count(fingerprint),
            "best": math.nan if best is None else best["best_val_metric"], "created": about["created"],
            "note": about["note"], "fingerprint": fingerprint, "former": about["former"],
        })  # fmt: skip
    frame = pd.DataFrame(rows).astype({"new_rows": "Int64", "columns": "Int64"})
    frame["created"] = pd.to_datetime(frame["created"], format="ISO8601", utc=True)
    return frame.sort_values(["version", "created"], kind="stable", ignore_index=True)


def number_of(session: Session) -> int:
    """The number that the log gives the version of the data that a session is on."""
    return int(_chain(session)[session.task.fingerprint]["version"])


def version_changes(session: Session) -> pd.DataFrame:
    """What each version of the task has changed for each configuration; see `Workbench.version_changes`."""
    chain = _chain(session)
    rows = []
    ended: set[tuple[str, tuple[int, ...]]] = set()
    for finding in session.log.findings("change"):
        if finding.task_fingerprint in chain:
            for row in finding.data["rows"]:
                values = {**row, "reruns": tuple(row["reruns"]), "version": chain[finding.task_fingerprint]["version"]}
                rows.append(values)
                ended.add((finding.task_fingerprint, values["reruns"]))
    for finding in session.log.findings("version"):  # those whose end was never logged: the kernel died
        if finding.task_fingerprint in chain:
            for trial, reruns in finding.data["trials"]:
                if (finding.task_fingerprint, tuple(reruns)) not in ended:
                    number = chain[finding.task_fingerprint]["version"]
                    rows.append(_without_end(session.log, finding.task_fingerprint, trial, reruns, number))
    frame = typed(pd.DataFrame(rows, columns=["version", *CHANGES]))
    return frame.sort_values("version", kind="stable", ignore_index=True)


def version_drift(session: Session) -> pd.DataFrame:
    """How the columns of each version of the task moved, as the log keeps it; see `Workbench.drift`."""
    chain = _chain(session)
    seen: set[str] = set()
    rows = []
    for finding in session.log.findings("version"):
        if finding.task_fingerprint in chain and finding.task_fingerprint not in seen:
            seen.add(finding.task_fingerprint)
            number = chain[finding.task_fingerprint]["version"]
            rows += [{"version": number, **row} for row in finding.data["drift"]]
    numbers = ["statistic", "p_value", "p_adjusted", "old", "new"]
    frame = pd.DataFrame(rows, columns=["version", *COLUMNS]).astype({**dict.fromkeys(numbers, float), "moved": bool})
    return frame.sort_values("version", kind="stable", ignore_index=True)


def typed(frame: pd.DataFrame, unknown: str = "") -> pd.DataFrame:
    """The table with the type of each column; `unknown` for a verdict that is not there."""
    numbers = [
        "score",
        "old_model",
        "old_model_new_rows",
        "rerun",
        "low",
        "high",
        "change",
        "change_low",
        "change_high",
    ]
    frame = frame.astype({**dict.fromkeys(numbers, float), "trial": int, "seeds": int})
    frame["beyond_noise"] = frame["beyond_noise"].eq(True)
    frame["verdict"] = frame["verdict"].astype(object).where(frame["verdict"].notna(), unknown)
    return frame


def plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as JSON values: NaN and infinities are None."""
    return [{str(key): plain_value(value) for key, value in row.items()} for row in frame.to_dict("records")]


def plain_value(value: Any) -> Any:
    """One value of a table as JSON has it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple):
        return list(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ----------------------------------------------------------------------------------------------------------------------


def _chain(session: Session) -> dict[str, dict[str, Any]]:
    """What is known of each version that the session's task belongs with, by fingerprint.

    They are numbered in the order in which they were begun, so that two versions that both came from the first are 2 and 3, and
    a number says which is newer; `former` says what each came from. The task itself knows only how many stand before it.
    """
    findings = session.log.findings("version")
    connected = {session.task.fingerprint}
    while True:
        links = [{one.task_fingerprint, one.data["former"]} for one in findings]
        more = set().union(*(link for link in links if link & connected)) - connected
        if not more:
            break
        connected |= more
    found: dict[str, dict[str, Any]] = {}
    for one in findings:
        if one.task_fingerprint not in connected:
            continue
        data = one.data
        wanted = data["version"] - 1
        taken = [known["version"] for known in found.values()]
        root = {"version": max(taken) + 1 if wanted in taken else wanted, "sizes": data["former_sizes"], "former": None}
        root |= {"name": "", "note": "", "new_rows": None, "moved": [], "columns": None, "created": None}
        found.setdefault(data["former"], root)
        before = found.get(one.task_fingerprint)
        number = max(known["version"] for known in found.values()) + 1 if before is None else before["version"]
        about = {key: data[key] for key in ("sizes", "name", "note", "former", "moved", "columns")}
        about |= {"version": number, "new_rows": sum(data["new"].values()), "created": one.created}
        if before is None or before["created"] is None:
            found[one.task_fingerprint] = about
    if not found:
        task = session.task
        found[task.fingerprint] = {
            "version": task.version_number, "sizes": task.sizes, "name": "", "note": "", "former": None, "new_rows": None,
            "moved": [], "columns": None, "created": None,
        }  # fmt: skip
    return found


def _without_end(log: TrialLog, fingerprint: str, trial: int, reruns: Sequence[int], version: int) -> dict[str, Any]:
    """A row from what the log has of its parts, without intervals."""
    frame = log.trials().set_index("trial")
    row: dict[str, Any] = {"version": version, "trial": trial, "reruns": tuple(reruns), "seeds": len(reruns)}
    if trial in frame.index:
        row["score"] = float(frame.at[trial, "best_val_metric"])
    for one in log.findings("evaluation", fingerprint):
        if one.data["trial"] == trial:
            row |= {"old_model": one.data["score"], "old_model_new_rows": one.data["score_new_rows"]}
    scores = frame.loc[[number for number in reruns if number in frame.index], "best_val_metric"].dropna()
    if len(scores):
        row["rerun"] = float(scores.mean())
        row["change"] = row["rerun"] - row["old_model"] if row.get("old_model") is not None else math.nan
    return {**row, "beyond_noise": False, "verdict": "not compared to the end"}
