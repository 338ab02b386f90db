"""Growing a trial on from one of its epochs, and the tree that comes of it."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from workbench.core.config import Config, declared
from workbench.core.errors import ConfigError, Problem
from workbench.core.events import Branched, Event, Message
from workbench.core.text import counted
from workbench.runs.run import Run
from workbench.runs.session import Session, scripted
from workbench.training import Change, Trained, Training, prepare

__all__ = ["Tree", "branch", "branch_config", "tree"]


def branch_config(session: Session, trial: int, epoch: int | None, changes: Mapping[str, Any]) -> tuple[Config, int]:
    """The configuration of a branch with its changes, and the epoch it begins after.

    Raises: LogError, RunError for a trial or epoch that is not there; ConfigError for a change that cannot be.
    """
    epoch = session.recall.check_epoch(trial, epoch)
    session.recall.check_outside_trash(trial)
    session.recall.refits.check_measured(trial, "a branch")
    before = session.recall.config(trial, epoch)
    config = before.replace(**changes)
    known = declared(config.model)
    fixed = [name for name in changes if known[name].is_architecture and getattr(config, name) != getattr(before, name)]
    if fixed:
        raise ConfigError(
            Problem(
                name,
                changes[name],
                f"{name}={changes[name]!r}: a branch keeps the architecture of its parent, trial {trial} "
                f"({name}={getattr(before, name)!r}); start a new trial to change it",
            )
            for name in fixed
        )
    if config.epochs <= epoch:
        message = (
            f"epochs={config.epochs}: the branch begins after epoch {epoch}; give more, such as epochs={2 * epoch}"
        )
        raise ConfigError([Problem("epochs", config.epochs, message)])
    return prepare(session.task, config), epoch


def branch(
    session: Session,
    trial: int,
    epoch: int | None,
    changes: Mapping[str, Any],
    *,
    seeds: int,
    name: str,
    note: str,
    tags: Sequence[str],
    device: str,
    script: Sequence[Change] = (),
    stop_after: int | None = None,
) -> Run:
    """Train branches of a trial, one for each seed from the parent's on; the same request again, while it trains, is the same
    run. Nothing is logged when it raises."""
    session.recall.check_one_model(
        "a branch",
        f"train the changed configuration from its start, bench.run(bench.config({trial}).replace(...)), or make a task without "
        "folds for it",
    )
    config, epoch = branch_config(session, trial, epoch, changes)
    recall = session.recall
    begins = recall.steps(trial, epoch)
    early = [change for change in script if change.step < begins]
    if early and config.batch_size == recall.config(trial, epoch).batch_size:
        message = f"script: {tuple(early[0])} lies before step {begins}, after which the branch begins"
        raise ConfigError([Problem("script", early[0], message)])
    before = recall.config(trial, epoch)
    kept = recall.kept(trial, epoch)  # read now, so that the caller gets the error of a damaged file
    recall.check_code(trial, None if kept is None else kept.weights)
    at_hand: list[Trained] = [] if kept is None or kept.progress.epoch != epoch else [kept]

    def origin() -> Trained:
        if not at_hand:
            at_hand.append(recall.again(trial, epoch, kept))
        return at_hand[0]

    configs = [config.replace(seed=config.seed + index) for index in range(seeds)]

    def first_events(trials: Sequence[int]) -> Sequence[Event]:
        events: list[Event] = []
        for number, one in zip(trials, configs, strict=True):
            events.append(Branched(number, trial, epoch, differences(before, one)))
            if one.optimizer != before.optimizer:
                message = f"the optimizer changed from {before.optimizer} to {one.optimizer}: its state starts empty"
                events.append(Message(number, message))
            if not at_hand:
                after = 0 if kept is None else kept.progress.epoch
                message = (
                    f"there is no checkpoint after epoch {epoch}: epochs {after + 1} to {epoch} are trained again first"
                )
                events.append(Message(number, message))
        return [*events, *scripted(trials, script, stop_after)]

    def training(trials: dict[int, Config]) -> Training:
        origins = dict.fromkeys(trials, origin)
        scripted = dict.fromkeys(trials, script)
        return Training(
            session.task, trials, device=device, origins=origins, changes=scripted, stop_after=stop_after
        )  # fmt: skip

    request = ("branch", trial, epoch, tuple(configs), name, device, tuple(script), stop_after)
    return session.once(
        request,
        lambda: session.launch(
            configs, training, source="branch", parent=trial, parent_epoch=epoch, name=name, note=note, tags=tags,
            device=device, events=first_events,
        ),
    )  # fmt: skip


def differences(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """Old and new value by field, of the fields in which two configurations differ."""
    old, new = before.model_dump(), after.model_dump()
    return {name: (old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)}


@dataclass
class Node:
    """One trial of the tree. epoch: of its parent, after which it begins. changes: as `differences` gives them."""

    trial: int
    about: str
    epoch: int = 0
    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    branches: list[Node] = field(default_factory=list)

    def lines(self, before: str = "", after: str = "") -> Iterator[tuple[str, Node]]:
        yield before, self
        for index, one in enumerate(self.branches):
            last = index == len(self.branches) - 1
            yield from one.lines(after + ("└─ " if last else "├─ "), after + ("   " if last else "│  "))

    @property
    def description(self) -> str:
        """What stands in its line."""
        if not self.epoch:
            return f"trial {self.trial} · {self.about}"
        changed = ", ".join(f"{name} {_short(old)} → {_short(new)}" for name, (old, new) in self.changes.items())
        return f"trial {self.trial} after epoch {self.epoch}: {changed or 'no change'} · {self.about}"


class Tree:
    """Trials and their branches, as text in a console and as a list in a notebook.

    roots: the trials that others began from. `frame`: one row a branch, as in the log.
    """

    def __init__(self, roots: Sequence[Node], frame: pd.DataFrame) -> None:
        self.roots, self.frame = list(roots), frame

    def lines(self) -> list[tuple[str, Node]]:
        """Each trial in the order of the drawing, with what stands before it."""
        return [line for root in self.roots for line in root.lines()]

    def __repr__(self) -> str:
        if not self.roots:
            return "no branches yet: bench.branch(trial, epoch, learning_rate=...)"
        return "\n".join(f"{before}{node.description}" for before, node in self.lines())

    def _repr_html_(self) -> str:
        return f'<pre style="line-height:1.35">{html.escape(repr(self))}</pre>'

    def __len__(self) -> int:
        return len(self.frame)


def tree(session: Session, trial: int | None = None) -> Tree:
    """The tree of all branches on this task, or the one that a trial belongs to."""
    frame = session.log.history.branches(session.task.fingerprint)
    if trial is not None:
        session.log.state(trial)  # complains of an unknown one
    table = session.log.trials(task_fingerprint=session.task.fingerprint).set_index("trial")
    frame = frame[~frame["trial"].isin(table.index[table["source"] == "replay"])]
    nodes: dict[int, Node] = {}
    inner = set()
    for row in frame.itertuples(index=False):
        for number in (int(row.parent), int(row.trial)):
            if number not in nodes:
                nodes[number] = Node(number, _where(session, table, number))
        node = nodes[int(row.trial)]
        node.epoch, node.changes = int(row.epoch), row.changes
        nodes[int(row.parent)].branches.append(node)
        inner.add(int(row.trial))
    roots = [nodes[number] for number in sorted(nodes) if number not in inner]
    if trial is not None:
        roots = [root for root in roots if any(node.trial == trial for _, node in root.lines())]
        shown = {node.trial for root in roots for _, node in root.lines()}
        frame = frame[frame["trial"].isin(shown)]
        if not roots:
            roots = [Node(trial, _where(session, table, trial))]
    return Tree(roots, frame.reset_index(drop=True))


def _where(session: Session, table: pd.DataFrame, trial: int) -> str:
    """What is shown of a trial: its result, or its state. table: the trials on this task, by number."""
    if trial in table.index:
        return _about(table.loc[trial])
    everywhere = session.log.trials().set_index("trial")["task"]
    return f"on the task {everywhere[trial]!r}, not on this one" if trial in everywhere.index else "in the trash"


def _about(row: pd.Series[Any]) -> str:
    name = f"{row['name']!r} · " if row["name"] else ""
    epochs = 0 if pd.isna(row["epochs_run"]) else int(row["epochs_run"])
    best = "" if pd.isna(row["best_val_metric"]) else f", best {row['metric']} {row['best_val_metric']:.4g}"
    return f"{name}{str(row['state']).replace('_', ' ')}, {counted(epochs, 'epoch')}{best}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
