"""From a trial in the log to its diagnosis, from a prescription to a new trial, and its outcome."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.core.direction import best_score
from workbench.core.errors import ConfigError, Problem, RunError, WorkbenchError, did_you_mean
from workbench.core.events import ENDED, TrialState
from workbench.core.text import counted
from workbench.methods.comparison.leaderboard import by_seed
from workbench.methods.comparison.patience_advice import patience_advice
from workbench.methods.comparison.reads import Reads
from workbench.methods.diagnosis.case import Case, Finding, Learned, OutputBounds, Prescription, Rival, RuleFindings
from workbench.methods.diagnosis.figure import diagnosis_figure
from workbench.methods.diagnosis.outputs import output_bounds
from workbench.methods.diagnosis.relation import chance_of_ranking, class_weighted_losses
from workbench.methods.diagnosis.rules import all_rules, apply_rules
from workbench.methods.diagnosis.track_record import KIND, prescriptions, record, rules_table
from workbench.models import build_model, is_builtin
from workbench.models.layers import LayerFacts, inspect_layers
from workbench.runs.branch import branch
from workbench.runs.restore import logged_config
from workbench.runs.run import Run
from workbench.runs.session import Session
from workbench.training import filled, prepare
from workbench.training.losses import loss_of

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.core.config import Config
    from workbench.training import Weights
    from workbench.ui.figures import NotebookFigure

__all__ = ["Diagnosis", "case_of", "diagnose", "prescriptions", "rules_table", "try_it"]

LAYER_ROWS = 256
"""Training rows on which layers are measured."""
FLUSH_SECONDS = 2.0
EXACT_LOSSES = {"classification": "cross_entropy", "regression": "mse", "multilabel": "binary_cross_entropy"}
"""The losses that the task's baseline is measured by, without smoothing and weights of classes."""


class Diagnosis(RuleFindings):
    """What `bench.diagnose(trial)` returns.

    trial; verdict: the name of the main finding's rule, or "healthy"; title: the verdict in words; findings: heaviest first,
    each with rule, title, evidence, since, prescription and record; notes: what was not examined, and why.
    """

    def figure(self) -> NotebookFigure:
        """The learning curves with the evidence marked; below them the layers, if a finding is about them."""
        return diagnosis_figure(self)


def diagnose(session: Session, trial: int) -> Diagnosis:
    """The rules' findings on a trial, each with its rule's record. Trains nothing. Raises: as `case_of`."""
    case, notes = case_of(session, trial)
    diagnosed = apply_rules(case)
    records = {
        row.rule: row for row in rules_table(session, [one.rule for one in diagnosed.findings]).itertuples(index=False)
    }
    findings = [replace(one, record=record(records[one.rule])) for one in diagnosed.findings]
    return Diagnosis(case, findings, [*diagnosed.notes, *notes])


def try_it(session: Session, diagnosis: RuleFindings | int, rule: str | None, *, device: str) -> Run:
    """Start what a finding prescribes and enter into the log that it was tried. Nothing is logged when it raises.

    While the same prescription is still being tried, its run is returned instead of a second one.
    """
    diagnosed = diagnosis if isinstance(diagnosis, RuleFindings) else apply_rules(case_of(session, diagnosis)[0])
    finding = _chosen(diagnosed, rule)
    given, trial, case = finding.prescription, diagnosed.trial, diagnosed.case
    if given.how == "code":
        message = f"trial {trial}: no hyperparameter cures {finding.title!r}, so there is no trial to start"
        raise RunError(f"{message}; {given.description}")
    session.recall.check_outside_trash(trial)  # it may have come there since the diagnosis
    with session.lock:  # a second click comes on another thread
        for earlier in session.log.findings(KIND, session.task.fingerprint):
            if (earlier.data["trial"], earlier.data["rule"]) == (trial, finding.rule):
                run = session.run_of(earlier.data["tried"][0])
                if run is not None and not run.done:
                    return run
        run = _START[given.how](
            session, trial, given, f"{all_rules()[finding.rule].title}: {given.description}", device
        )
        session.log.add_finding(KIND, _tried(case, finding, run), task_fingerprint=session.task.fingerprint)
    return run


def _tried(case: Case, finding: Finding, run: Run) -> dict[str, Any]:
    """What the log keeps of a prescription that is being tried."""
    given = finding.prescription
    return {
        "trial": case.trial,
        "rule": finding.rule,
        "how": given.how,
        "epoch": given.epoch,
        "changes": dict(given.changes),
        "tried": list(run.trials),
        "rival": given.rival,
        "metric": case.metric,
        "noise": case.error_of(case.score) if len(case.epoch) and math.isfinite(case.error_of(case.score)) else 0.0,
    }


def case_of(session: Session, trial: int) -> tuple[Case, list[str]]:
    """All that the rules may look at, and what they cannot. Trains nothing.

    Raises: LogError for an unknown trial; RunError for one in the trash, on another task, of another metric or without a finished
    epoch.
    """
    log, task, reads = session.log, session.task, Reads.of(session)
    curve = log.curves(trial)
    session.recall.check_outside_trash(trial)
    session.recall.check_trial_task(trial)
    session.recall.refits.check_measured(trial, "a diagnosis")
    if (metric := log.record(trial).metric) != task.metric:
        message = f"trial {trial} was measured by {metric!r}, which cannot be compared with this task's {task.metric!r}"
        raise RunError(f"{message}; make the task with metrics={metric!r}")
    state, notes = log.state(trial), []
    if curve.empty and state != TrialState.DIVERGED:
        raise RunError(f"trial {trial} has no finished epoch to diagnose (it is {state}); wait for its first one")
    config = logged_config(trial, log.record(trial).config)
    if state not in ENDED:
        notes.append(f"the trial is {state}: diagnosed from its first {counted(len(curve), 'epoch')}")
    if not curve.empty:
        config = session.recall.config(trial, int(curve["epoch"].iloc[-1]))
    measured = config.loss == EXACT_LOSSES.get(task.kind) and not any(
        config.uses(name) and getattr(config, name) for name in ("label_smoothing", "class_weight")
    )
    board = reads.leaderboard(None)
    logged = log.results.scores(task.fingerprint, task.metric)
    scores, begun = by_seed(logged), logged_config(trial, log.record(trial).config)
    configuration = next(
        iter(logged.loc[logged["trial"] == trial, "configuration"]), session.configuration_of(begun)
    )  # an altered trial's is its own
    own = scores[scores["configuration"] == configuration]
    others = board[board["configuration"] != configuration]
    rival = None
    if not others.empty:
        values = scores.loc[scores["configuration"] == others["configuration"].iloc[0], "score"]
        rival = Rival(int(others["trial"].iloc[0]), tuple(float(value) for value in values))
    best = log.results.best(task.fingerprint, task.metric, reads.better)
    known = [] if best is None else [best["best_val_metric"]]
    finite = curve[np.isfinite(curve["val_loss"]) & curve["monitored"].notna()]
    known += [] if finite.empty else [float(finite.loc[finite["monitored"].idxmin(), "val_metric"])]
    known = [score for score in known if math.isfinite(score)]
    seeds = [int(other) for other in own.loc[own["seed"] != begun.seed, "trial"]]
    curves = log.curves(*seeds) if seeds else curve.iloc[:0]
    ended = log.history.ends(trial).get(trial)
    weighted = class_weighted_losses(task, config) if measured else None
    baseline, untrained = weighted or (task.baseline.loss, _untrained_loss(session))
    layers = _layers(session, trial, config)
    bounds = layers.bounds
    case = Case(
        trial=trial,
        config=config,
        state=str(state),
        metric=task.metric,
        better=reads.better,
        curve=curve,
        baseline_loss=baseline if measured else math.nan,
        baseline_score=task.baseline.metric,
        best_score=best_score(known, reads.better),
        rows=sum(len(member.validation) for member in ([task] if task.folds is None else task.folds.members)),
        reason="" if ended is None else ended.reason,
        seeds=[rows for _, rows in curves.groupby("trial")],
        scores=tuple(float(score) for score in own["score"]),
        rival=rival,
        leads=bool(len(board)) and board["configuration"].iloc[0] == configuration,
        initial=layers.initial,
        trained=layers.trained,
        trained_epoch=layers.epoch,
        untrained_loss=untrained if measured else math.nan,
        learned_patience=lambda: _learned_patience(session),
        classes=None if task.classes is None else len(task.classes),
        output_bounds=bounds,
        unreachable=0.0 if bounds is None else _share_beyond(task.train.y, bounds),
        chance=lambda: _chance(session, trial, config),
        cross_validated=task.folds is not None,
    )
    return case, [*notes, *layers.notes]


# --------------------------------------------------------------------------------------------------------------------


def _untrained_loss(session: Session) -> float:
    """The task's own loss of outputs of zero, on the training split."""
    task = session.task
    if task.kind == "multilabel":
        return math.log(2)
    return float(task.train.y.double().square().mean()) if task.classes is None else math.log(task.output_size)


def _learned_patience(session: Session) -> Learned | None:
    """What `bench.suggest_patience()` says; None where it has too few trials."""
    reads = Reads.of(session)
    try:
        advice = patience_advice(session.task, session.log, better=reads.better, metric_label=reads.metric_label)
    except RunError:
        return None
    return advice.suggestion, advice.trials


def _share_beyond(targets: Tensor, bounds: OutputBounds) -> float:
    """The share of numeric targets that lie outside the bounds of the outputs; 0 for classes."""
    if not targets.is_floating_point():
        return 0.0
    return float(((targets < bounds.low) | (targets > bounds.high)).double().mean())


class _Layers(NamedTuple):
    """The layers at the initial weights, and those at the newest available ones, after `epoch`. notes: why some are missing."""

    initial: list[LayerFacts] | None = None
    trained: list[LayerFacts] | None = None
    epoch: int | None = None
    bounds: OutputBounds | None = None
    notes: Sequence[str] = ()


def _layers(session: Session, trial: int, config: Config) -> _Layers:
    """What can be seen of a trial's module without training anything."""
    task, split, found = session.task, session.task.train, _Layers()
    x, y, loss = split.x[:LAYER_ROWS], split.y[:LAYER_ROWS], loss_of(config)[0]
    try:
        session.recall.check_code(trial)
        module = build_model(task, config)
        if session.recall.origin(trial) is None:
            found = found._replace(initial=inspect_layers(module, x, y, loss))
        if not is_builtin(config.model):  # the built-in ones end in a linear layer
            found = found._replace(bounds=output_bounds(module, x))
        at_hand = _weights(session, trial)
        if at_hand is None:
            why = "its trained layers were not examined: its weights are not available (no checkpoint is kept)"
            return found._replace(notes=[why])
        weights, epoch = at_hand
        return found._replace(trained=inspect_layers(filled(module, weights), x, y, loss), epoch=epoch)
    except WorkbenchError as error:
        return found._replace(notes=[f"its layers were not examined: {error}"])


def _chance(session: Session, trial: int, config: Config) -> float | None:
    """See `chance_of_ranking`; None where the weights are not available."""
    try:
        session.recall.check_code(trial)
        weights = session.weights_at_hand(trial)
        return None if weights is None else chance_of_ranking(session.task, config, weights)
    except WorkbenchError:
        return None  # why the model cannot be built is among the notes on its layers


def _weights(session: Session, trial: int) -> tuple[Weights, int] | None:
    """The last weights of a trial, or else the best ones, without training anything; None if none are available."""
    curve = session.log.curves(trial)
    if curve.empty:
        return None
    run = session.run_of(trial)
    if run is not None and run.done:
        session.checkpoints.flush(FLUSH_SECONDS)  # its last state may still be on its way to the disk
    kept = session.recall.kept(trial, int(curve["epoch"].iloc[-1]))
    if kept is not None:
        return kept.weights, kept.progress.epoch
    weights = session.weights_at_hand(trial)
    return None if weights is None else (weights, session.recall.best_epoch(trial))


def _chosen(diagnosed: RuleFindings, rule: str | None) -> Finding:
    """The finding to act on. Raises: ConfigError for a rule that is unknown; RunError for one that found nothing."""
    if rule is not None and rule not in all_rules():
        raise ConfigError([Problem("rule", rule, f"rule={rule!r}: unknown{did_you_mean(rule, all_rules())}")])
    finding = diagnosed.finding(rule)
    if finding is None:
        found = ", ".join(repr(one.rule) for one in diagnosed.findings) or "nothing"
        what = "there is nothing to try" if rule is None else f"rule {rule!r} found nothing"
        raise RunError(f"trial {diagnosed.trial}: {what}; its diagnosis is {diagnosed.verdict!r} (found: {found})")
    return finding


def _branch(session: Session, trial: int, given: Prescription, note: str, device: str) -> Run:
    return branch(
        session, trial, given.epoch, given.changes, seeds=1, name="", note=note, tags=(), device=device
    )  # fmt: skip


def _anew(session: Session, trial: int, given: Prescription, note: str, device: str) -> Run:
    config = prepare(session.task, logged_config(trial, session.log.record(trial).config).replace(**given.changes))
    return session.launch([config], source=KIND, parent=trial, note=note, device=device)


def _more_seeds(session: Session, trial: int, given: Prescription, note: str, device: str) -> Run:
    configs = {}
    for number in (trial, given.rival):
        if number is not None:
            config = logged_config(number, session.log.record(number).config)
            configuration = session.configuration_of(config)
            used = Reads.of(session).seeds_of([configuration])[configuration] | {config.seed}
            free = (seed for seed in range(config.seed, 2**31) if seed not in used)
            configs[number] = [prepare(session.task, config.replace(seed=next(free))) for _ in range(given.seeds)]
    return session.replicate(configs, device=device)


_START = {"branch": _branch, "new": _anew, "seeds": _more_seeds}
