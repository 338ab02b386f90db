"""The tables of the trial log.

Rows are inserted and never changed; what a trial is now follows from its rows. They are removed in one case only: when
the trash is emptied, those of the trials in it. `leases` are no history and are overwritten.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Integer, MetaData, Table, Text

__all__ = [
    "VERSION", "adoptions", "cohorts", "edits", "ends", "epochs", "events", "findings", "leases", "metadata", "purged",
    "search_steps", "searches", "sessions", "trash_moves", "trials", "versions",
]  # fmt: skip

VERSION = 7
"""Raised with each change of the tables; a log of another version is rejected."""

metadata = MetaData()


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def _trial() -> Column[int]:
    return Column("trial", Integer, ForeignKey("trials.id"), nullable=False, index=True)


def _session() -> Column[int]:
    return Column("session", Integer, ForeignKey("sessions.id"), nullable=False)


def _texts(*names: str) -> list[Column[str]]:
    """Columns of texts, none of them NULL."""
    return [Column(name, Text, nullable=False) for name in names]


def _integers(*names: str) -> list[Column[int]]:
    """Columns of integers or NULL."""
    return [Column(name, Integer) for name in names]


def _floats(*names: str) -> list[Column[float]]:
    """Columns of numbers or NULL."""
    return [Column(name, Float) for name in names]


versions = Table(
    "schema_versions",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    *_texts("name"),
)

# a process that writes; on its machine, pid and start together identify it
# process_started: epoch seconds. machine: where the pid can be looked up
sessions = Table(
    "sessions",
    metadata,
    _id(),
    *_texts("host"),
    Column("pid", Integer, nullable=False),
    Column("process_started", Float, nullable=False),
    *_texts("created", "versions"),
    Column("machine", Text),
)

# when a session last renewed its lease: epoch seconds by the database server's clock, or this machine's for a file
leases = Table(
    "leases",
    metadata,
    Column("session", Integer, ForeignKey("sessions.id"), primary_key=True, autoincrement=False),
    Column("renewed", Float, nullable=False),
)

# numbers for trials that train together
cohorts = Table("cohorts", metadata, _id(), Column("created", Text, nullable=False))

trials = Table(
    "trials",
    metadata,
    _id(),
    _session(),
    *_texts("created", "name", "note", "tags", "source"),
    Column("parent", Integer, ForeignKey("trials.id"), index=True),
    Column("parent_epoch", Integer),
    *_texts("task", "task_fingerprint", "metric", "monitor", "device"),
    Column("cohort", Integer),
    *_texts("config"),
    Column("builder", Text),
    Column("builder_source", Text),
    *_integers("search", "suggestion"),
    Column("configuration", Text),
    sqlite_autoincrement=True,
)

# what was searched and how; options: JSON of the space, the base configuration, the budget and the pruner
searches = Table(
    "searches",
    metadata,
    _id(),
    _session(),
    *_texts("created", "task_fingerprint", "strategy"),
    Column("continues", Integer),
    *_texts("options"),
    sqlite_autoincrement=True,
)

# the journal of a search: what it requested and received, in order, so that it can be resumed; data: JSON
search_steps = Table(
    "search_steps",
    metadata,
    _id(),
    Column("search", Integer, ForeignKey("searches.id"), nullable=False, index=True),
    *_texts("kind", "data", "created"),
)

# sessions that continue the unfinished trial of another one: the last one owns it, else `trials.session`
adoptions = Table(
    "adoptions",
    metadata,
    _id(),
    _trial(),
    _session(),
    *_texts("created"),
)

# metrics: JSON of [training, validation] by name. monitored: what selects the best epoch, lower is better
# folds: JSON of the validation loss ("loss") and metrics of each fold, {} without folds
# SQLite keeps NaN as NULL; these columns have no other use for NULL
epochs: Table = Table(
    "epochs",
    metadata,
    Column("trial", Integer, ForeignKey("trials.id"), primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("step", Integer, nullable=False),
    *_floats(
        "train_loss",
        "penalty",
        "train_metric",
        "val_loss",
        "val_metric",
        "learning_rate",
        "grad_norm",
        "seconds",
        "monitored",
    ),
    Column("metrics", Text, nullable=False),
    Column("folds", Text, nullable=False),
)

# kind: state (name: the state), change (of a hyperparameter by hand), message, cohort (name: the series, epoch: after how
# many), branch (name: the parent, message: JSON of the old and new value by field)
events = Table(
    "events",
    metadata,
    _id(),
    _trial(),
    *_texts("kind"),
    *_integers("epoch", "step"),
    *_texts("name"),
    *_floats("old", "new"),
    *_texts("message", "created"),
)

# metrics: JSON of the validation values by name at the best epoch
# how a trial ended, with what a table of many trials shows, so that it need not read their epochs
ends = Table(
    "ends",
    metadata,
    Column("trial", Integer, ForeignKey("trials.id"), primary_key=True, autoincrement=False),
    *_texts("state"),
    Column("epochs_run", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("best_epoch", Integer, nullable=False),
    *_floats("best_val_loss", "best_val_metric", "train_loss", "val_loss", "val_metric", "seconds"),
    *_texts("metrics", "reason", "traceback", "created"),
)

# edits of a trial's name, note or tags: the last one counts
edits = Table(
    "annotations",
    metadata,
    _id(),
    _trial(),
    *_texts("field", "value", "created"),
)

# results found after the training (see findings.py): kind and its data, JSON. They refer to trials by number and
# outlive them: that a test set was opened stays true when the trial is removed
findings = Table(
    "findings",
    metadata,
    _id(),
    _session(),
    *_texts("created"),
    Column("kind", Text, nullable=False, index=True),
    *_texts("task_fingerprint", "data"),
    sqlite_autoincrement=True,
)

# into the trash and out of it, by `action` "deleted" and "restored": the last one counts. No foreign key, here and in
# `purged`: the rows outlive the trial
trash_moves = Table(
    "trash",
    metadata,
    _id(),
    Column("trial", Integer, nullable=False, index=True),
    *_texts("action", "created"),
)

# trials whose rows are removed for good; search, suggestion: what a search needs to know when it is continued
purged = Table(
    "purged",
    metadata,
    Column("trial", Integer, primary_key=True, autoincrement=False),
    *_integers("search", "suggestion"),
    *_texts("created"),
)
