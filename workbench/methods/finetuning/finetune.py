"""Fine-tune a trained or pretrained network: from the arguments of `bench.finetune` to a run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from workbench.core.config import Config
from workbench.core.errors import ConfigError, ModelError, Problem, RunError, did_you_mean
from workbench.core.events import ENDED, TrialState
from workbench.core.registry import LOSSES, MODELS
from workbench.models import (
    Backbone,
    Facts,
    Source,
    build_model,
    builder_source,
    count_parameters,
    is_builtin,
    register_backbone,
    source_of,
)
from workbench.runs.restore import logged_config
from workbench.runs.run import Run
from workbench.runs.session import Session
from workbench.tasks.rows import InputRows
from workbench.training import Weights, filled, prepare

if TYPE_CHECKING:
    from workbench.tasks import Task

__all__ = ["ALL_BUT_THE_HEAD", "finetune", "groups_to_freeze"]

ALL_BUT_THE_HEAD = "all but the head"


DUPLICATES = 0.01
"""Up to this share of rows may be in two data sets by chance, before a warning."""


def finetune(
    session: Session,
    *,
    from_trial: int | None,
    task: Task | None,
    backbone: str | Callable[[], nn.Module] | None,
    freeze: str | int | None,
    learning_rate_factor: float,
    unfreeze_at: int | None,
    config: Config | None,
    seeds: int,
    name: str,
    note: str,
    tags: Sequence[str],
    device: str,
) -> Run:
    """Train a new head, and what is not frozen, on a network that has learned already; the same request again, while it trains,
    is the same run. Nothing is logged when it raises."""
    if (from_trial is None) == (backbone is None):
        message = "finetune: give either from_trial=, a trial of the log, or backbone=, a pretrained network"
        raise ConfigError([Problem("from_trial", from_trial, message)])
    target = session.task if task is None else task
    with _undone_on_error():
        if from_trial is not None:
            source = _source(session, from_trial, target)
            _warn_of_seen_rows(session, from_trial, target)
            epoch = session.recall.best_epoch(from_trial)
            builder = MODELS[source.name].value if source.name in MODELS else source.register()
            base = config or _config_of(session, from_trial, target)
        else:
            assert backbone is not None
            source, epoch = None, None
            builder, base = _backbone(session, backbone), config or Config()
        builder.features(target.input_shape)  # raises for inputs that do not fit
        wanted = base.replace(
            model=builder.name,
            freeze=groups_to_freeze(builder, freeze),
            unfreeze_at=0 if unfreeze_at is None else unfreeze_at,
            learning_rate_factor=learning_rate_factor,
        )
        if unfreeze_at is not None and wanted.epochs <= unfreeze_at:
            message = f"unfreeze_at={unfreeze_at}: the training ends after epochs={wanted.epochs}; lower it, or give more epochs"
            raise ConfigError([Problem("unfreeze_at", unfreeze_at, message)])
        wanted = prepare(target, wanted)
    here = session if target.fingerprint == session.task.fingerprint else session.on(target)
    if source is not None and here.sources is not None:
        source.write(here.sources)
    configs = [wanted.replace(seed=wanted.seed + index) for index in range(seeds)]
    compare_with = () if from_trial is None or here is not session else (from_trial,)
    return here.once(
        ("finetune", from_trial, builder_source(builder.name), tuple(configs), name, device),
        lambda: here.launch(
            configs, source="finetune", parent=from_trial, parent_epoch=epoch, name=name, note=note, tags=tags,
            device=device, compare_with=compare_with,
        ),
    )  # fmt: skip


def groups_to_freeze(backbone: Backbone, freeze: str | int | None) -> int:
    """How many groups of layers `freeze` means, from the input on: a number, the name of the last of them, all, or none.

    Raises: ConfigError with the groups there are.
    """
    groups = backbone.groups
    if freeze is None:
        return 0
    if isinstance(freeze, str):
        if freeze == ALL_BUT_THE_HEAD:
            return len(groups)
        for index, group in enumerate(groups):
            if freeze in group.parts:
                return index + 1
        known = [ALL_BUT_THE_HEAD, *(part for group in groups for part in group.parts)]
        message = f"freeze={freeze!r}: names no group of layers of {backbone.name!r}{did_you_mean(freeze, known)}"
    elif not isinstance(freeze, bool) and isinstance(freeze, int) and 0 <= freeze <= len(groups):
        return freeze
    else:
        message = f"freeze={freeze!r}: must be a number of groups from 0 to {len(groups)}, the name of one, {ALL_BUT_THE_HEAD!r}"
        message += " or None"
    listed = ", ".join(f"{index + 1}: {group.description}" for index, group in enumerate(groups))
    raise ConfigError([Problem("freeze", freeze, f"{message}. From the input on, there are {listed}")])


# ----------------------------------------------------------------------------------------------------------------------


@contextmanager
def _undone_on_error() -> Iterator[None]:
    """Restore the table of models if the block raises."""
    before = dict(MODELS.items())
    try:
        yield
    except BaseException:
        for name, entry in list(MODELS.items()):
            if name not in before:
                MODELS.unregister(name)
            elif entry is not before[name]:
                MODELS.register(**vars(before[name]), built_in=MODELS.is_built_in(name))
        raise


def _backbone(session: Session, backbone: str | Callable[[], nn.Module]) -> Backbone:
    """A registered backbone by name, or one to register under the name of the function that makes it."""
    if isinstance(backbone, str):
        found = MODELS[backbone].value
        if not isinstance(found, Backbone):
            names = [name for name, entry in MODELS.items() if isinstance(entry.value, Backbone)]
            message = f"backbone={backbone!r}: is a model without pretrained weights{did_you_mean(backbone, names)}"
            message += "; register one with wb.register_backbone"
            raise ConfigError([Problem("backbone", backbone, message)])
        return found
    name = getattr(backbone, "__name__", "backbone")
    name = name if name.isidentifier() else "backbone"
    known = MODELS[name].value if name in MODELS else None
    if isinstance(known, Backbone) and known.make is backbone:
        return known
    if known is not None and (not isinstance(known, Backbone) or known.source is not None):
        message = f"backbone={name}: there is a model of that name already; register it under another with wb.register_backbone"
        raise ConfigError([Problem("backbone", name, message)])
    found = register_backbone(name, backbone)
    if known is not None and known.digest != found.digest:
        for trial, record in session.log.records(sorted(session.trials_going)).items():
            if record.config["model"] == name:
                message = (
                    f"backbone={name}: trial {trial}, which has not ended, began from other weights under that name"
                )
                message += "; wait for its end, or register these under another name with wb.register_backbone"
                raise ConfigError([Problem("backbone", name, message)])
    return found


def _config_of(session: Session, trial: int, task: Task) -> Config:
    """A trial's configuration as far as it suits another task: a loss for its kind, a batch that its rows fill."""
    config = logged_config(trial, session.log.record(trial).config)
    suits = config.loss in LOSSES and task.kind in LOSSES[config.loss].kinds
    return config.replace(
        loss=config.loss if suits else "auto", batch_size=min(config.batch_size, len(task.train.x))
    )  # fmt: skip


def _source(session: Session, trial: int, target: Task) -> Source:
    """A trial's best model as a source. Raises: LogError, RunError, ModelError naming what is wrong with it."""
    log = session.log
    state = log.state(trial)
    if state not in ENDED:
        raise RunError(f"trial {trial} is {state}; wait for its end, then fine-tune it")
    session.recall.check_outside_trash(trial)
    session.recall.refits.check_measured(trial, "a fine-tuning")
    if state is TrialState.FAILED:
        raise RunError(f"trial {trial} failed, so there is no model to fine-tune; see bench.log.traceback({trial})")
    if not log.history.folds(trial).empty:
        raise RunError(
            f"trial {trial} was cross-validated and has a model for each fold, and fine-tuning from a trial needs one; train "
            f"bench.config({trial}) on a task without folds, such as split=(0.8, 0.2, 0), and fine-tune that trial"
        )
    name = f"trial_{trial}_{log.identity}"
    known = source_of(name)
    if known is not None:
        _check_inputs(trial, known.facts.input_shape, known.facts.feature_names, target)
        return known
    config = logged_config(trial, log.record(trial).config)
    own = session.known(log.record(trial).task_fingerprint)
    if own is not None:
        _check_inputs(trial, own.task.input_shape, own.task.feature_names, target)
        weights, _ = own.recall.weights(trial)
        own.recall.check_builder(trial, weights)
        facts: Any = own.task
    else:
        weights = _from_checkpoint(session, trial)
        facts = _facts(session, trial, config, weights, target)
    module = filled(build_model(facts, config), weights)
    label = f"trial {trial}: {MODELS[config.model].label} on {facts.name}"
    x = None if own is None else own.task.train.x
    seen = (
        x.parts.get("") if isinstance(x, InputRows) else x
    )  # stored values: where they are constant, so are scaled ones
    return Source.of_module(name, label, trial, module, config, facts, seen=seen)


def _warn_of_seen_rows(session: Session, trial: int, target: Task) -> None:
    """A UserWarning if the source has trained on rows that the target keeps for its test; as far as its data are available."""
    own = session.known(session.log.record(trial).task_fingerprint)
    if own is None or own.task.fingerprint == target.fingerprint or not target.sizes["test"]:
        return
    seen = int(np.isin(target.row_keys["test"], own.task.row_keys["train"]).sum())
    if seen > DUPLICATES * target.sizes["test"]:
        message = (
            f"trial {trial} was trained on {seen:,} of the {target.sizes['test']:,} test rows of {target.name!r}: the test score "
            "of a model fine-tuned from it would be too good; split the data once, and start from a trial on that split"
        )
        warnings.warn(message, UserWarning, stacklevel=4)


def _check_inputs(trial: int, shape: tuple[int, ...], names: tuple[str, ...] | None, task: Task) -> None:
    if shape != task.input_shape:
        message = f"takes inputs of shape {shape}, and {task.name!r} has {task.input_shape}"
        raise ModelError(f"trial {trial} {message}: fine-tune it on a task with the same inputs")
    if names != task.feature_names and names is not None and task.feature_names is not None:
        at = next(index for index, pair in enumerate(zip(names, task.feature_names, strict=True)) if pair[0] != pair[1])
        message = f"was trained on the column {names[at]!r} where {task.name!r} has {task.feature_names[at]!r}"
        raise ModelError(f"trial {trial} {message}: fine-tune it on a task with the same columns in the same order")


def _from_checkpoint(session: Session, trial: int) -> Weights:
    """The best weights of a trial on another task, whose data are not available to train it again."""
    found = session.recall.best_kept(trial)
    if found is None:
        message = f"trial {trial} is of other data than {session.task.name!r}, and no checkpoint has its best model"
        raise RunError(f"{message}; {_from_its_own_task(trial)}")
    return found


def _from_its_own_task(trial: int) -> str:
    return f"call it there: wb.Workbench(its task, log=...).finetune(from_trial={trial}, task=...)"


def _facts(session: Session, trial: int, config: Config, weights: Weights, target: Task) -> Facts:
    """The facts of the task of a trial of which only the weights are available: its inputs have to be the target's.

    The number of outputs follows from the number of parameters, which grows by as much with each of them.
    """

    def facts(outputs: int) -> Facts:
        shape, names = target.input_shape, target.feature_names
        return Facts(name, target.kind, target.metric, shape, outputs, None, names, fingerprint)

    fingerprint = session.log.record(trial).task_fingerprint
    frame = session.log.trials(task_fingerprint=fingerprint)
    name = str(frame.set_index("trial").at[trial, "task"])
    then = session.log.builder_source(trial)
    if then is not None and is_builtin(config.model):  # in a log from before the names of built-in models were kept
        message = (
            f"trial {trial} was trained with a model of your own called {config.model!r}, which is a built-in one here"
        )
        raise ModelError(f"{message}; train one under another name, and start from that")
    if isinstance(MODELS[config.model].value, Backbone):
        message = f"trial {trial} was fine-tuned itself, and is of other data than {target.name!r}"
        raise RunError(f"{message}; {_from_its_own_task(trial)}")
    first, second = (count_parameters(build_model(facts(outputs), config)) for outputs in (1, 2))
    outputs, rest = divmod(weights.vector.numel() - first, max(1, second - first))
    try:
        if rest or outputs < 0:
            raise ModelError("other inputs")
        found = facts(outputs + 1)
        filled(build_model(found, config), weights)
    except ModelError:
        if then is not None and then != builder_source(config.model):
            message = f"the builder of model {config.model!r} is another one than trial {trial} was trained with"
            remedy = f"register that one with wb.Workbench(..., models={{{config.model!r}: build}})"
            raise ModelError(f"{message}: {remedy}; bench.log.builder_source({trial}) has its source") from None
        message = f"trial {trial} takes inputs of another shape than those of {target.name!r}, {target.input_shape}"
        raise ModelError(f"{message}: fine-tune it on a task with the same inputs") from None
    return found
