"""What came of the prescriptions that were tried, and each rule's record: read from the trials as they are now."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from workbench.core.events import ENDED, TrialState
from workbench.core.registry import METRICS
from workbench.core.text import counted
from workbench.methods.comparison.leaderboard import by_seed, leaderboard
from workbench.methods.comparison.reads import Reads
from workbench.methods.diagnosis.effect import MEASURE_WORDS, Reached, helped, measure_of
from workbench.methods.diagnosis.rules import all_rules
from workbench.metrics.intervals import LEVEL
from workbench.runs.session import Session

__all__ = ["KIND", "prescriptions", "record", "rules_table"]

KIND = "prescription"
"""Of the log's findings: a prescription that was tried."""
COLUMNS = (
    "trial", "rule", "how", "changes", "tried", "score_before", "score_after", "difference", "helped", "compared", "repeat",
)  # fmt: skip
CUT_OFF = {str(state) for state in ENDED} - {
    str(state) for state in (TrialState.COMPLETED, TrialState.EARLY_STOPPED, TrialState.DIVERGED)
}


def prescriptions(session: Session, rules: Collection[str] | None = None) -> pd.DataFrame:
    """The prescriptions that were tried in this log, on any task, one per row; see `Workbench.prescriptions`.

    rules: evaluate those of these rules only; None: of all.
    """
    tried = [] if rules is not None and not rules else session.log.findings(KIND)
    tried = [one for one in tried if rules is None or one.data["rule"] in rules]
    rows: list[dict[str, Any]] = []
    if tried:
        reader = _Reader(session, session.log.trials().set_index("trial"))
        rows = [reader.outcome(one.data, one.task_fingerprint) for one in tried]
        _mark_repeats(rows)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"trial": np.int64, "helped": "boolean", "repeat": bool})


def rules_table(session: Session, rules: Collection[str] | None = None) -> pd.DataFrame:
    """The rules, or the given ones, with their records on this log, one per row; see `Workbench.rules`."""
    outcomes = prescriptions(session, rules)
    outcomes = outcomes[~outcomes["repeat"]]
    rows = []
    for name, rule in all_rules().items():
        if rules is not None and name not in rules:
            continue
        known = outcomes.loc[outcomes["rule"] == name, "helped"].dropna()
        tried, well = len(known), int(known.sum())
        low = high = share = math.nan
        if tried:
            share = well / tried
            interval = stats.binomtest(well, tried).proportion_ci(LEVEL, "exact")
            low, high = float(interval.low), float(interval.high)
        rows.append((name, rule.title, rule.meaning, tried, well, share, low, high, MEASURE_WORDS[rule.measure]))
    columns = ["rule", "title", "meaning", "tried", "helped", "share", "low", "high", "measure"]
    return pd.DataFrame(rows, columns=columns)


def record(row: Any) -> str:
    """A rule's record, a row of `rules_table`, in words."""
    times = f"helped {row.helped} of {counted(row.tried, 'time')} in this log"
    return f"{times}, by {row.measure}" if row.tried else ""


# --------------------------------------------------------------------------------------------------------------------


@dataclass
class _Reader:
    """What the outcomes are read from. table: all trials outside the trash, by number."""

    session: Session
    table: pd.DataFrame

    def outcome(self, data: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
        """One tried prescription, and whether it helped; `_key` is that of its repeats, None if that is unknown."""
        table, trial = self.table, data["trial"]
        rule = all_rules().get(data["rule"])
        measure = measure_of("best" if rule is None else rule.measure, data["changes"])
        numbers = [number for number in data["tried"] if number in table.index]
        states = set(table.loc[numbers, "state"])
        ended = bool(numbers) and states <= {str(state) for state in ENDED}
        if data["how"] == "seeds":
            numbers = [number for number in numbers if table.at[number, "parent"] == trial]
        before = float(table["best_val_metric"].get(trial, math.nan))
        scores = table.loc[numbers, "best_val_metric"].astype(float)
        after = float(scores.mean()) if len(scores) and ended else math.nan
        well: Any = pd.NA
        compared = ""
        if data["how"] == "seeds":
            if ended:
                well, compared = self._differ(data, fingerprint)
        elif (
            ended and trial in table.index and data["metric"] in METRICS
        ):  # one of the user's own may not be registered here
            (begun, old), (tried, new) = (self._runs(data, fingerprint, one) for one in (trial, numbers[0]))
            better, stops = METRICS[data["metric"]].value.better, "patience" in data["changes"]
            found = helped(
                measure,
                begun,
                tried,
                (old, new),
                metric=data["metric"],
                better=better,
                noise=data["noise"],
                stops=stops,
            )
            well, compared = found.helped, found.compared
        values = (trial, data["rule"], data["how"], data["changes"], data["tried"], before, after, after - before)
        row = dict(zip(COLUMNS, (*values, well, compared, False), strict=True))
        return {**row, "_key": self._key(data, fingerprint), "_whole": not states & CUT_OFF}

    def _runs(self, data: Mapping[str, Any], fingerprint: str, trial: int) -> tuple[Reached, dict[float, Reached]]:
        """The results of a trial, and by seed those of all trials of its configuration, unless it is a branch."""
        table = self.table
        numbers = {float(table.at[trial, "seed"]): trial}
        if data["how"] == "new" and "seed" not in data["changes"] and pd.isna(table.at[trial, "parent_epoch"]):
            scores = self.session.log.results.scores(fingerprint, data["metric"])
            own = scores.loc[scores["trial"] == trial, "configuration"]
            others = scores[scores["configuration"].isin(own) & scores["trial"].isin(table.index)]
            whole = others[table.loc[others["trial"], "parent_epoch"].isna().to_numpy(bool)]
            numbers = dict(zip(whole["seed"].astype(float), whole["trial"], strict=True)) | numbers
        curves = dict(list(self.session.log.curves(*numbers.values()).groupby("trial")))
        nothing = pd.DataFrame({"val_loss": []})
        runs = {
            seed: Reached.of(curves.get(number, nothing), float(table.at[number, "best_val_metric"]))
            for seed, number in numbers.items()
        }
        return runs[float(table.at[trial, "seed"])], runs

    def _differ(self, data: Mapping[str, Any], fingerprint: str) -> tuple[Any, str]:
        """Whether two configurations differ at 5%, by the test of the leaderboard; NA if one has a single seed left."""
        scores = self.session.log.results.scores(fingerprint, data["metric"])
        configurations, draws = scores.set_index("trial")["configuration"], by_seed(scores)
        if not {data["trial"], data["rival"]} <= set(configurations.index):
            return pd.NA, ""
        own, other = (
            draws.loc[draws["configuration"] == configurations[data[name]], "score"] for name in ("trial", "rival")
        )
        if min(len(own), len(other)) < 2:
            return pd.NA, ""
        means = (
            f"best validation {data['metric']}: {own.mean():.3g} ({counted(len(own), 'seed')}) against {other.mean():.3g} "
            f"({len(other)})"
        )
        two = draws[draws["configuration"].isin([configurations[data["trial"]], configurations[data["rival"]]])]
        if (fingerprint, data["metric"]) == (self.session.task.fingerprint, self.session.task.metric):
            board = Reads.of(self.session).ranked(two, data["metric"])  # of a cross-validation by its folds
        else:
            board = leaderboard(two)
        chance = float(board["p_value"].iloc[-1])
        if not math.isfinite(chance):
            return pd.NA, f"{means}, both without spread: no test is possible"
        return chance < 1 - LEVEL, f"{means}, p = {chance:.2g} by the leaderboard's t-test"

    def _key(self, data: Mapping[str, Any], fingerprint: str) -> str | None:
        """The same for trying the same again: of a run like the trial, seed included, to a run like the one tried.

        More seeds are other runs each time, but the two configurations are compared once.
        """
        seeds = data["how"] == "seeds"
        wanted = [data["trial"], data["rival"]] if seeds else [data["trial"], *data["tried"]]
        if not set(wanted) <= set(self.table.index):
            return None
        records = self.session.log.records(wanted)
        what = [records[number].config | ({"seed": 0} if seeds else {}) for number in wanted]
        begun = "" if seeds else repr(float(self.table.at[data["trial"], "best_val_metric"]))
        return json.dumps([fingerprint, data["rule"], data["how"], data["epoch"], begun, what], sort_keys=True)


def _mark_repeats(rows: Sequence[dict[str, Any]]) -> None:
    """Of rows that did the very same, all but one: the first whose outcome is known, rather one that was not cut off."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["_key"] is not None:
            groups.setdefault(row["_key"], []).append(row)
    for group in groups.values():
        counted = min(group, key=lambda row: (row["helped"] is pd.NA, not row["_whole"]))  # the first of equals
        for row in group:
            row["repeat"] = row is not counted
