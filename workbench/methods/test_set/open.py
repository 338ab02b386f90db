"""Opening the sealed test set: once, on the record, with an interval and the optimism of the validation score."""

from __future__ import annotations

import getpass
import html
import math
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.direction import better_of, sign
from workbench.core.errors import ConfigError, ModelError, Problem, RunError, SealError
from workbench.core.events import ENDED, TrialState
from workbench.core.registry import METRICS
from workbench.core.text import counted, in_sentence, rounded
from workbench.log import Finding
from workbench.log.openings import KIND, Opening, keys_as_text, openings, unseen
from workbench.methods.test_set.figure import opened_scores
from workbench.metrics.evaluation import evaluate_metric
from workbench.metrics.intervals import Interval, score_interval
from workbench.runs.publisher import LogChanged
from workbench.runs.restore import whole
from workbench.runs.session import Session
from workbench.tasks.test_split import open_by_fold, open_seal
from workbench.ui.figures import NotebookFigure

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.runs.trained_model import TrainedModel
    from workbench.tasks import TaskSchema
    from workbench.tasks.rows import Inputs

__all__ = ["TestResult", "Together", "history", "open_test_set"]


class Together(Protocol):
    """What of an ensemble is asked here. number: in the log, None if it is not recorded there. facts: its `EnsembleFacts`.
    folds: 0 if there are none."""

    @property
    def number(self) -> int | None: ...
    @property
    def members(self) -> Sequence[Any]: ...
    @property
    def models(self) -> Iterable[Any]: ...
    @property
    def schema(self) -> TaskSchema: ...
    @property
    def facts(self) -> Any: ...
    @property
    def folds(self) -> int: ...
    @property
    def val_metric(self) -> float: ...
    def predictions(self, x: Any) -> Tensor: ...


@dataclass(frozen=True)
class TestResult:
    """One opening of a test set.

    what: the trial or ensemble, in words. metric: its name; score with low and high, its 95% interval, found by `method`, on
    `rows` of the test split's `split_rows` rows: fewer where only unseen ones were asked for. loss is left out: it is not what
    trials are compared by. validation: the score on the validation split, by which the model was chosen. optimism: how much
    better than the test score that is, in the metric's direction; both NaN for a refit. looked: trials that have been measured
    on the validation split, this one included: the more, the more optimism is to be expected. number: how many openings have
    seen any of these rows, this one included; stamp: "opened once" or "reused (number)". seen: rows that were seen before. who,
    when: whose process opened it, and when (UTC, ISO 8601). decision: the calibration and threshold that the score rests on, in
    words, "" for none.
    """

    what: str
    task: str
    metric: str
    score: float
    low: float
    high: float
    method: str
    rows: int
    split_rows: int
    validation: float
    optimism: float
    looked: int
    baseline: float
    number: int
    seen: int
    stamp: str
    who: str
    when: str
    decision: str = ""

    __test__ = False  # pytest takes every class of such a name for one of tests

    def figure(self) -> NotebookFigure:
        """Validation and test score next to each other, with the interval, the baseline and the stamp."""
        return opened_scores(pd.DataFrame([vars(self)]), metric_label=METRICS[self.metric].label)

    @property
    def description(self) -> list[str]:
        """The result in sentences."""
        label = in_sentence(METRICS[self.metric].label)
        rows = f"{self.rows:,} rows"
        if self.rows < self.split_rows:
            rows = f"{self.rows:,} of the split's {self.split_rows:,} rows, those that were never evaluated before"
        lines = [
            f"Test {label} of {self.what} on {self.task!r}: {rounded(self.score)}, 95% interval {rounded(self.low)} to "
            f"{rounded(self.high)}, {self.method}, {rows}.",
        ]
        looked = f"{counted(self.looked, 'trial')} evaluated on the validation set"
        if math.isnan(self.validation):
            lines.append(f"No validation score: it was trained on the validation rows as well, after {looked}.")
        else:
            within = " (within what the interval allows)" if self.low <= self.validation <= self.high else ""
            optimism = rounded(self.optimism, sign=True)
            lines.append(
                f"Validation {label}: {rounded(self.validation)}; optimism {optimism}, after {looked}{within}."
            )
        if self.decision:
            chosen = (
                ""
                if math.isnan(self.validation)
                else "; the validation score rests on the same rows, and is optimistic"
            )
            lines.append(f"It decides so: {self.decision}{chosen}.")
        if self.number > 1:
            lines.append(
                f"{self.stamp.capitalize()}: {self.seen:,} of the {self.rows:,} rows were evaluated before, so this score may "
                "be too good. New data brings unseen rows; only_unseen=True evaluates on those alone."
            )
        return lines

    def __repr__(self) -> str:
        return "\n".join(self.description)

    def _repr_html_(self) -> str:
        stamp = f"<b>{html.escape(self.stamp)}</b>"
        return f"<div>{stamp}{''.join(f'<div>{html.escape(line)}</div>' for line in self.description)}</div>"


def open_test_set(
    session: Session, trial: int | Together, *, again: bool = False, only_unseen: bool = False
) -> TestResult:
    """Measure a trial's best model, or an ensemble, on the test split, and record it in the log before returning it.

    only_unseen: on those of its rows alone that no opening in the log has seen. Raises: ConfigError for `again` and
    `only_unseen` that are neither True nor False, or both; TaskError if the task has no test split; RunError, LogError for a
    trial in the trash, or without a model; ModelError if the metric is not defined on the rows, or if the model is not the one
    that was measured on the validation rows; SealError if any of the test rows were seen before and neither is set, or if none
    is unseen. Nothing is opened then.
    """
    again, only_unseen = _flag("again", again), _flag("only_unseen", only_unseen)
    if again and only_unseen:
        message = "again and only_unseen exclude each other"
        raise ConfigError([Problem("only_unseen", only_unseen, message)])
    what: int | Together = whole("trial", trial) if not hasattr(trial, "members") else trial
    sealed, keys = open_seal(session.task), session.task.row_keys["test"]
    if isinstance(what, int) and session.recall.refits.includes(what):
        sealed = open_seal(session.recall.refits.merged)  # the same rows, prepared as for its training
    answers, about, validation = _model(session, what)
    test = sealed
    if only_unseen:
        new = unseen(keys, openings(session.log.findings(KIND)))
        if not new.any():
            raise _sealed(session, keys, "none of them is unseen; a version of the task with new rows has some")
        test, keys = sealed.part(new), keys[new]
    data: dict[str, Any] = {**about, "keys": keys_as_text(keys)}

    def check(earlier: Sequence[Finding]) -> None:
        *others, this = openings([*earlier, Finding(0, KIND, session.task.fingerprint, data, "")])
        if this.number > 1 and not again:
            left = int(unseen(session.task.row_keys["test"], others).sum())
            remedy = f"only_unseen=True evaluates on the {left:,} unseen rows alone; " if left else ""
            remedy += "a second evaluation is biased; again=True makes it nevertheless, and its result is marked "
            raise _sealed(session, this.keys, f"{remedy}{this.stamp!r} wherever it is shown", others)

    check(session.log.findings(KIND))  # before any row is read; again when it is recorded, for who was faster meanwhile
    metric = session.task.metric
    inputs: Any = test.x
    if not isinstance(what, int) and what.folds:
        inputs = [x[new] if only_unseen else x for x in open_by_fold(session.task)]
    interval: Interval = score_interval(metric, answers(inputs), test.target, test.weight, test.group)
    data |= {
        "task": session.task.name,
        "metric": metric,
        "score": interval.score,
        "low": interval.low,
        "high": interval.high,
        "method": interval.method,
        "rows": len(test),
        "split_rows": len(sealed),
        "validation": validation,
        "optimism": None if validation is None else sign(better_of(metric)) * (validation - interval.score),
        "looked": session.log.results.count_measured(session.task.fingerprint),
        "baseline": session.task.baseline.metric,
        "who": f"{_user()}@{socket.gethostname()}",
    }
    number = session.log.add_finding(KIND, data, task_fingerprint=session.task.fingerprint, check=check)
    session.publish([LogChanged()])
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


def _flag(name: str, value: object) -> bool:
    """Raises ConfigError unless it is True or False; Python would take "no" for True."""
    if not isinstance(value, (bool, np.bool_)):
        raise ConfigError([Problem(name, value, f"{name}={value!r}: must be True or False")])
    return bool(value)


def _sealed(
    session: Session, keys: NDArray[np.uint64], remedy: str, earlier: Sequence[Opening] | None = None
) -> SealError:
    """The error for rows of these keys that were evaluated before, with the last opening that saw some of them."""
    known = openings(session.log.findings(KIND)) if earlier is None else earlier
    last = next(one for one in reversed(known) if np.isin(keys, one.keys).any()).finding
    seen = int((~unseen(keys, known)).sum())
    return SealError(
        f"the test set of {session.task.name!r} was opened before: {last.data['what']} on "
        f"{last.created[:16].replace('T', ' ')} UTC by {last.data['who']} ({last.data['metric']} {rounded(last.data['score'])}; "
        f"{seen:,} of these {len(keys):,} rows were seen); {remedy}"
    )


def _model(session: Session, what: int | Together) -> tuple[Callable[[Inputs], Tensor], dict[str, Any], float | None]:
    """What makes predictions of prepared rows, what the log says of it, and its validation score, None for a refit."""
    if not isinstance(what, int):
        session.recall.check_task(repr(what), what.schema.fingerprint)
        session.recall.check_outside_trash(*(member.trial for member in what.members))
        for model in what.models:
            _check_measured(model)
        words = f"ensemble {what.number}" if what.number is not None else "an ensemble"
        about = {"trial": None, "ensemble": what.number, "epoch": None, "what": words, "decision": ""}
        same = what.facts.metric == session.task.metric
        if what.folds and not same:
            raise RunError(
                f"{words} was scored out-of-fold by {what.facts.metric!r}, and the metric is {session.task.metric!r} now; "
                "make it again with bench.ensemble(trials=...)"
            )
        return what.predictions, about, what.val_metric if same else _validation_score(session, what.predictions)
    state = session.log.state(what)
    if state not in ENDED:
        raise RunError(f"trial {what} is {state}; wait for its end, then open the test set")
    session.recall.check_outside_trash(what)
    refits = session.recall.refits
    if refits.includes(what) and state is not TrialState.COMPLETED:
        raise RunError(f"trial {what}, a refit, is {state}: it did not reach its last epoch; refit again, then open")
    if not refits.includes(what):
        session.recall.check_one_model(
            "the test set",
            f"bench.refit({what}) trains one model on all rows outside the test set; bench.ensemble(trials=[{what}]) averages "
            "those of the folds",
        )
    model = session.recall.model(what)
    _check_measured(model)
    refit, metric = refits.includes(what), session.task.metric
    words = f"trial {what}, a refit of trial {session.log.record(what).parent}" if refit else f"trial {what}"
    decision = model.decision.description
    about = {"trial": what, "ensemble": None, "epoch": model.epoch, "what": words, "decision": decision}
    answers = partial(model.predictions, decided=not METRICS[metric].value.probabilities)
    if refit:
        return answers, about, None
    if model.decision or session.log.record(what).metric != metric:
        return answers, about, _validation_score(session, answers)
    curve = session.log.curves(what).set_index("epoch")
    return answers, about, float(curve.loc[model.epoch, "val_metric"])


def _validation_score(session: Session, answers: Callable[[Inputs], Tensor]) -> float:
    """The task's headline metric of predictions on its validation rows."""
    rows = session.task.validation
    return evaluate_metric(session.task.metric, answers(rows.x), rows.target, rows.weight)


def _check_measured(model: TrainedModel) -> None:
    """Raises: ModelError if a trial's model is not the one that was measured: its test score would be that of another one."""
    if model.mismatch:
        raise ModelError(f"trial {model.trial} cannot be evaluated on the test set: {model.mismatch}")


def _results(findings: Sequence[Finding]) -> list[tuple[Opening, TestResult]]:
    """The openings with their results."""
    found = []
    own = ("number", "seen", "stamp", "when", "split_rows")
    names = [name for name in TestResult.__dataclass_fields__ if name not in own]
    for opening in openings(findings):
        data = opening.finding.data
        values: dict[str, Any] = {name: math.nan if data[name] is None else data[name] for name in names}
        result = TestResult(
            number=opening.number, seen=opening.seen, stamp=opening.stamp, when=opening.finding.created,
            split_rows=data.get("split_rows", data["rows"]),  # of a log from before rows could be left out
            **values,
        )  # fmt: skip
        found.append((opening, result))
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no entry in the table of users, as in some containers
        return "unknown"
