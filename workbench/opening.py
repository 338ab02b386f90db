"""Opening the sealed test set: once, on the record, with an interval and the optimism of the validation score."""

from __future__ import annotations

import getpass
import html
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from workbench.analysis import Interval, score_interval
from workbench.errors import RunError, SealError
from workbench.events import ENDED
from workbench.figures import NotebookFigure, opened_scores
from workbench.log import Finding
from workbench.log.openings import KIND, Opening, keys_as_text, openings
from workbench.registry import METRICS
from workbench.session import Session
from workbench.tasks.seal import open_seal

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.tasks import TaskSchema

__all__ = ["TestResult", "Together", "history", "open_test_set"]


class Together(Protocol):
    """What of an ensemble is asked here. number: in the log, None if it is not recorded there."""

    @property
    def number(self) -> int | None: ...
    @property
    def schema(self) -> TaskSchema: ...
    @property
    def val_metric(self) -> float: ...
    def outputs(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class TestResult:
    """One opening of a test set.

    what: the trial or ensemble, in words. metric: its name; score with low and high, its 95% interval, found by `method`, on
    `rows` test rows. loss is left out: it is not what trials are compared by. validation: the score on the validation split,
    by which the model was chosen. optimism: how much better than the test score that is, in the metric's direction. looked:
    trials that have been measured on the validation split, this one included: the more, the more optimism is to be expected.
    number: how many openings have seen any of these rows, this one included; stamp: "opened once" or "reused (number)".
    seen: rows that were seen before. who, when: whose process opened it, and when (UTC, ISO 8601).
    """

    what: str
    task: str
    metric: str
    score: float
    low: float
    high: float
    method: str
    rows: int
    validation: float
    optimism: float
    looked: int
    baseline: float
    number: int
    seen: int
    stamp: str
    who: str
    when: str

    __test__ = False  # pytest takes every class of such a name for one of tests

    def figure(self) -> NotebookFigure:
        """Validation and test score beside each other, with the interval, the baseline and the stamp."""
        return opened_scores(pd.DataFrame([vars(self)]), metric_label=METRICS[self.metric].label)

    @property
    def says(self) -> list[str]:
        """The result in sentences."""
        label = METRICS[self.metric].label.lower()
        lines = [
            f"Test {label} of {self.what} on {self.task!r}: {self.score:.4f}, 95% interval {self.low:.4f} to {self.high:.4f}, "
            f"{self.method}, {self.rows:,} rows.",
            f"Validation {label}: {self.validation:.4f}; optimism {self.optimism:+.4f}, after {self.looked:,} "
            f"trial{'s' * (self.looked != 1)} that looked at the validation set"
            + (" (within what the interval allows)." if self.low <= self.validation <= self.high else "."),
        ]
        if self.number > 1:
            lines.append(
                f"{self.stamp.capitalize()}: {self.seen:,} of the {self.rows:,} rows were looked at before, so this score may "
                "be too good; new data makes a new test set."
            )
        return lines

    def __repr__(self) -> str:
        return "\n".join(self.says)

    def _repr_html_(self) -> str:
        stamp = f"<b>{html.escape(self.stamp)}</b>"
        return f"<div>{stamp}{''.join(f'<div>{html.escape(line)}</div>' for line in self.says)}</div>"


def open_test_set(session: Session, what: int | Together, *, again: bool = False) -> TestResult:
    """Measure a trial's best model, or an ensemble, on the test split, and write that into the log before it is told.

    Raises: TaskError if the task has no test split; RunError, LogError for a trial that has no model yet; SealError if any of
    the test rows were seen before and `again` is not set. Nothing is opened then.
    """
    test = open_seal(session.task)
    model, about, validation = _model(session, what)
    metric, better = session.task.metric, session.reads.better
    interval: Interval = score_interval(metric, model.outputs(test.x), test.y)
    data = {
        **about,
        "task": session.task.name,
        "metric": metric,
        "score": interval.score,
        "low": interval.low,
        "high": interval.high,
        "method": interval.method,
        "rows": len(test),
        "validation": validation,
        "optimism": validation - interval.score if better == "higher" else interval.score - validation,
        "looked": session.log.looked(session.task.fingerprint),
        "baseline": session.task.baseline.metric,
        "who": f"{_user()}@{socket.gethostname()}",
        "keys": keys_as_text(session.task.row_keys["test"]),
    }

    def check(earlier: Sequence[Finding]) -> None:
        *others, this = openings([*earlier, Finding(0, KIND, session.task.fingerprint, data, "")])
        if this.number > 1 and not again:
            seen = next(one.finding for one in reversed(others) if np.isin(this.keys, one.keys).any())
            last = seen.data
            raise SealError(
                f"the test set of {session.task.name!r} was opened before: {last['what']} on "
                f"{seen.created[:16].replace('T', ' ')} UTC by {last['who']} ({last['metric']} {last['score']:.4f}; "
                f"{this.seen:,} of these {len(test):,} rows were seen). A second look can no longer be unbiased: "
                f"again=True takes it all the same, and the result is stamped {this.stamp!r} wherever it is shown"
            )

    number = session.log.add_finding(KIND, data, task_fingerprint=session.task.fingerprint, check=check)
    session.refresh_table()
    return next(result for opening, result in _results(session.log.findings(KIND)) if opening.finding.number == number)


def history(session: Session) -> pd.DataFrame:
    """One row an opening that saw rows of this task's test split, in order."""
    own = session.task.row_keys["test"]
    columns = [*TestResult.__dataclass_fields__]
    rows = []
    for opening, result in _results(session.log.findings(KIND)):
        if np.isin(opening.keys, own).any():
            data = opening.finding.data
            rows.append({**vars(result), "trial": data["trial"], "ensemble": data["ensemble"]})
    frame = pd.DataFrame(rows, columns=["trial", "ensemble", *columns])
    return frame.astype({"trial": "Int64", "ensemble": "Int64"})


# ----------------------------------------------------------------------------------------------------------------------


def _model(session: Session, what: int | Together) -> tuple[Any, dict[str, Any], float]:
    """What answers from prepared rows, what the log says of it, and its validation score."""
    if not isinstance(what, int):
        if what.schema.fingerprint != session.task.fingerprint:
            raise RunError(f"{what!r} was made on other data than {session.task.name!r}")
        words = f"ensemble {what.number}" if what.number is not None else "an ensemble"
        return what, {"trial": None, "ensemble": what.number, "epoch": None, "what": words}, what.val_metric
    state = session.log.state(what)
    if state not in ENDED:
        raise RunError(f"trial {what} is {state}; wait for its end before its model is judged for good")
    run = session.run_of(what)
    model = session.recall.model(what, None, None if run is None else run.weights_of(what))
    curve = session.log.curves(what).set_index("epoch")
    about = {"trial": what, "ensemble": None, "epoch": model.epoch, "what": f"trial {what}"}
    return model, about, float(curve.loc[model.epoch, "val_metric"])


def _results(findings: Sequence[Finding]) -> list[tuple[Opening, TestResult]]:
    """The openings with their results."""
    found = []
    names = [name for name in TestResult.__dataclass_fields__ if name not in ("number", "seen", "stamp", "when")]
    for opening in openings(findings):
        data = opening.finding.data
        result = TestResult(
            number=opening.number, seen=opening.seen, stamp=opening.stamp, when=opening.finding.created,
            **{name: data[name] for name in names},
        )  # fmt: skip
        found.append((opening, result))
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no entry in the table of users, as in some containers
        return "unknown"
