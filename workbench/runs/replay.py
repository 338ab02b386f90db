"""A trial done again: as a script that stands by itself, and as a run that is compared with the record."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from workbench.core.config import Config
from workbench.core.errors import RunError
from workbench.core.events import ENDED, Branched, Event, TrialState
from workbench.core.registry import LOSSES, METRICS, MODELS, OPTIMIZERS, SCHEDULES, Registry
from workbench.core.text import counted
from workbench.log import environment
from workbench.models import Backbone, is_builtin, read_source, source_of
from workbench.runs.branch import differences
from workbench.runs.restore import logged_config
from workbench.runs.run import Run
from workbench.runs.session import Session, scripted
from workbench.training import Training, draws, prepare

__all__ = ["TOLERANCE", "Replay", "replay", "script"]

TOLERANCE = 0.001
"""How far a loss or metric may be from the record, relative to 1 or to its own size, where trials trained together: their
shared operations round otherwise than those of one alone. Measured: 1e-6 and less over 30 epochs of configurations that train
steadily; where the loss jumps about, a rounding grows from step to step, and no tolerance would be true."""
DRAWN = "random numbers, as of dropout, are drawn for the cohort together"
COMPARED = (
    "train_loss", "val_loss", "train_metric", "val_metric", "penalty", "learning_rate", "grad_norm",
)  # fmt: skip
MEASURED = ("train_loss", "val_loss", "train_metric", "val_metric")


class Replay(Run):
    """A trial that is done again under a number of its own, to be compared with the record.

    original: the trial it is to equal. exact: whether it should, to the last bit; `reason` says why not.
    """

    def __init__(self, *args: Any, session: Session, original: int, reason: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.session, self.original, self.reason = session, original, reason
        self.exact = not reason

    @property
    def differences(self) -> pd.DataFrame:
        """One row an epoch and value that differs: epoch, value, recorded, replayed. Empty if all are equal."""
        old, new = (self.session.log.curves(trial).set_index("epoch") for trial in (self.original, self.trials[0]))
        rows = []
        for epoch in sorted({*old.index, *new.index}):
            for name in COMPARED:
                pair = [frame.at[epoch, name] if epoch in frame.index else None for frame in (old, new)]
                if not _same(*pair):
                    rows.append((int(epoch), name, *pair))
        return pd.DataFrame(rows, columns=["epoch", "value", "recorded", "replayed"])

    @property
    def same_weights(self) -> bool:
        """Whether the best weights, of all folds, are equal to the last bit."""
        for fold in range(len(self.session.task.folds or [None])):
            try:
                (one, first), (other, second) = (
                    self.session.recall.weights(trial, fold=fold) for trial in (self.original, self.trials[0])
                )
            except RunError:  # neither has a best epoch
                return True
            if first != second or not torch.equal(one.vector.cpu(), other.vector.cpu()):
                return False
        return True

    @property
    def identical(self) -> bool:
        """Whether every number of every epoch, and the best weights, are those of the record, to the last bit."""
        return self.done and self.differences.empty and self.same_weights

    @property
    def beyond(self) -> pd.DataFrame:
        """The rows of `differences` in which a loss or metric is further than `TOLERANCE` from the record."""
        found = self.differences
        found = found[found["value"].isin(MEASURED)]
        old, new = (found[name].astype(float) for name in ("recorded", "replayed"))
        return found[~((old - new).abs() <= TOLERANCE * np.maximum(1.0, old.abs()))]

    @property
    def within_tolerance(self) -> bool:
        """Whether no loss or metric is further than `TOLERANCE` from the record, relative to 1 or to its own size."""
        return bool(self.beyond.empty)

    @property
    def verdict(self) -> str:
        """The comparison in one sentence."""
        name = f"Trial {self.trials[0]}, a replay of trial {self.original},"
        if not self.done:
            return f"{name} is under way."
        epochs = len(self.session.log.curves(self.original))
        if self.identical:
            return f"{name} is identical to it: {counted(epochs, 'epoch')} and the best weights, to the last bit."
        found, beyond = self.differences, self.beyond
        if self.exact:
            where = f", first in epoch {found['epoch'].iloc[0]}" if len(found) else " in its best weights"
            return f"{name} differs from it{where}."
        if beyond.empty:
            return f"{name} agrees with it within {TOLERANCE:.1%} in all {epochs} epochs ({self.reason})."
        first = beyond["epoch"].iloc[0]
        if DRAWN in self.reason:
            return (
                f"{name} has other random numbers, so it agrees in distribution only: {self.reason} (first difference beyond "
                f"{TOLERANCE:.1%} in epoch {first} of {epochs})."
            )
        return (
            f"{name} leaves the tolerance of {TOLERANCE:.1%} in epoch {first} of {epochs} ({self.reason}; where the loss jumps "
            "about, such a difference grows from step to step)."
        )

    def __repr__(self) -> str:
        return f"<Replay: {self.verdict}>" if self.done else super().__repr__()


def replay(session: Session, trial: int, *, device: str | None = None) -> Replay:
    """Train a trial again from its first step, live changes included; a branch from the first step of the path to it.

    Raises: LogError for an unknown trial; RunError for one that has no epoch, failed, or is under way.
    """
    log, recall = session.log, session.recall
    recall.check_epoch(trial, None)
    recall.refits.check_measured(trial, "a replay")
    state = log.state(trial)
    if state not in ENDED and state is not TrialState.INTERRUPTED:
        raise RunError(f"trial {trial} is {state}; wait for its end, then replay it")
    if state is TrialState.FAILED:
        raise RunError(
            f"trial {trial} failed, so there is nothing to compare a replay with; see bench.log.traceback({trial})"
        )
    config = prepare(session.task, logged_config(trial, log.record(trial).config))
    recall.check_outside_trash(trial)
    recall.check_scores("replay", trial)
    recall.check_code(trial)
    origin, changes, stop = recall.origin(trial), recall.changes(trial), _stop_after(session, trial)
    device = device or log.record(trial).device
    parent, epoch = origin or (trial, None)
    changed = {} if origin is None else differences(recall.config(*origin), config)

    def first_events(trials: Sequence[int]) -> Sequence[Event]:
        events: list[Event] = list(scripted(trials, changes, stop))
        if origin is not None:
            events.append(Branched(trials[0], *origin, changed))
        return events

    def training(trials: dict[int, Config]) -> Training:
        origins = {} if origin is None else dict.fromkeys(trials, lambda: recall.again(*origin))
        scripted = dict.fromkeys(trials, changes)
        return Training(
            session.task, trials, device=device, origins=origins, changes=scripted, stop_after=stop
        )  # fmt: skip

    handle = partial(Replay, session=session, original=trial, reason=_why_not_exact(session, trial, device))
    return session.launch(
        [config], training, source="replay", parent=parent, parent_epoch=epoch, name=f"replay of {trial}", label="",
        device=device, events=first_events, kind=handle, compare_with=(trial,),
    )  # fmt: skip


def _stop_after(session: Session, trial: int) -> int | None:
    """The step after which a trial was stopped from outside, None if it ended by itself."""
    if session.log.state(trial) in (TrialState.COMPLETED, TrialState.EARLY_STOPPED, TrialState.DIVERGED):
        return None
    end = session.log.history.ends(trial).get(trial)
    return end.step if end is not None else int(session.log.curves(trial)["step"].iloc[-1])


def _why_not_exact(session: Session, trial: int, device: str) -> str:
    """Why a replay need not be equal to the last bit, "" if it must be."""
    log = session.log
    path = [trial]
    while (origin := session.recall.origin(path[-1])) is not None:
        path.append(origin[0])
    for one in path:
        here = environment()
        if device != log.record(one).device:
            return f"it ran on {log.record(one).device}, this on {device}"
        for about in log.ownership.environments(one):
            for name, value in here.items():
                if about.get(name) != value:
                    return f"it ran with {name} {about.get(name, 'unknown')}, this with {value}"
        if log.history.largest_cohort(one) > 1:
            if draws(session.task, logged_config(one, log.record(one).config)):
                return f"trial {one} trained together with others, and {DRAWN}"
            return f"trial {one} trained together with others, whose shared operations round otherwise"
    return ""


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return False
    return bool(one == other or (one != one and other != other))


# --- as a script ----------------------------------------------------------------------------------------------------


def script(session: Session, trial: int) -> str:
    """A Python script, using the public names only, that does a trial again."""
    log, recall, task = session.log, session.recall, session.task
    recall.check_trial_task(trial)
    if recall.refits.includes(trial):
        return _refit_script(session, trial)
    path = [trial]
    while (origin := recall.origin(path[-1])) is not None:
        path.append(origin[0])
    configs = {one: logged_config(one, log.record(one).config) for one in path}
    lines = [f'"""Does trial {trial} again, live changes included."""', "", "import workbench as wb", ""]
    lines += _own(configs.values(), task.metrics)
    needs = task.recipe_needs
    if needs:
        lines.append(f"# {', '.join(needs)}: your data, which the log does not hold")
    lines += [f"task = {task.recipe}", f"assert task.fingerprint == {task.fingerprint!r}  # the very same data"]
    models = {config.model for config in configs.values() if not is_builtin(config.model)}
    begun = {name: trained for name in models if (trained := source_of(name)) is not None}
    if models:
        lines[2:3] = ["import torch", "from torch import nn", "", "import workbench as wb"]
    for name in sorted(models - begun.keys()):
        source, _ = read_source(log.builder_source(trial))
        lines += ["", *(source or f"# the source of model {name!r} is not known; give its builder").splitlines()]
        lines += _registered(name, source)
    own = [name for name in sorted(models - begun.keys()) if not isinstance(MODELS[name].value, Backbone)]
    given = ", ".join(f"{name!r}: {_builder(log.builder_source(trial))}" for name in own)
    for name, trained in begun.items():
        lines += ["", f"# model {name!r} is {trained.label}, which is kept next to the checkpoints of its log"]
    kept = f", log={log.url!r}" if begun else ""
    lines += ["", f"bench = wb.Workbench(task{kept}{f', models={{{given}}}' if given else ''})"]
    device = log.record(trial).device
    where = f", device={device!r}" if device != "cpu" else ""
    before: str | None = None
    for one in reversed(path):
        name = "run" if one == trial else f"trial_{one}"
        following = path[path.index(one) - 1] if one != trial else None
        if following is None:
            until, stop = None, _stop_after(session, one) if log.state(one) in ENDED else None
        else:
            origin = recall.origin(following)
            assert origin is not None
            until = stop = recall.steps(one, origin[1])
        script_ = [tuple(c) for c in recall.changes(one) if until is None or c.step < until]
        options = f", {'changes' if before is None else 'script'}={script_!r}" if script_ else ""
        options += f", stop_after={stop}" if stop is not None else ""
        if before is None:
            lines.append(f"{name} = bench.start({configs[one]!r}{options}{where})")
        else:
            parent, epoch = recall.origin(one) or (0, 0)
            changed = differences(recall.config(parent, epoch), configs[one])
            given = "".join(f", {field}={new!r}" for field, (_, new) in changed.items())
            lines.append(f"{name} = bench.branch({before}.trials[0], epoch={epoch}{given}{options}{where})")
        lines.append(f"{name}.wait()")
        before = name
    lines += ["print(bench.trials.iloc[-1][['state', 'epochs_run', 'best_epoch', 'best_val_loss', 'best_val_metric']])"]
    return "\n".join(lines) + "\n"


def _refit_script(session: Session, trial: int) -> str:
    """The script of the trial that a refit repeats, and the call of the refit."""
    record = session.log.record(trial)
    assert record.parent is not None
    first = session.log.record(record.parent)
    index = int(record.config["seed"]) - int(first.config["seed"])
    options = f", seeds={index + 1}" if index else ""
    options += f", device={record.device!r}" if record.device != "cpu" else ""
    _, *lines, _ = script(session, record.parent).splitlines()
    lines += [f"run = bench.refit(run.trials[0]{options})", "run.wait()"]
    lines.append(
        f"print(bench.trials.set_index('trial').loc[run.trials[{index}], ['state', 'epochs_run', 'train_loss']])"
    )
    return "\n".join([f'"""Does trial {trial} again, a refit of trial {record.parent}."""', *lines]) + "\n"


def _own(configs: Iterable[Config], metrics: Sequence[str]) -> list[str]:
    """Comments on what the user has registered and the script cannot hold."""
    tables: dict[str, Registry[Any]] = {"loss": LOSSES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}
    chosen = {(kind, getattr(config, kind)) for config in configs for kind in tables}
    tables["metric"] = METRICS
    chosen |= {("metric", metric) for metric in metrics}
    lines = []
    for kind, name in sorted(chosen):
        value = tables[kind][name].value if name in tables[kind] else None
        function = getattr(value, "function", value)  # losses and metrics are entries with more than a function
        if not str(getattr(function, "__module__", "")).startswith("workbench."):
            lines.append(f"# {kind} {name!r} is your own: wb.register_{kind}({name!r}, ...) has to come first")
    return lines


def _registered(name: str, source: str | None) -> list[str]:
    """The call that registers a backbone; what a lambda was written in is that call itself."""
    backbone = MODELS[name].value
    if not isinstance(backbone, Backbone) or (source is not None and not source.startswith("def ")):
        return []
    weights = "" if backbone.weights is None else f", weights={os.fspath(backbone.weights)!r}"
    return [f"wb.register_backbone({name!r}, {_builder(source)}, head={backbone.head_name!r}{weights})"]


def _builder(source: str | None) -> str:
    """The name that a builder's source defines."""
    for line in (source or "").splitlines():
        if line.startswith(("def ", "class ")):
            return line.split()[1].partition("(")[0].rstrip(":")
    return "build"
