"""The tables of the trial log.

Rows are inserted and never changed; what a trial is now follows from its rows. They are removed in one case only: when
the trash is emptied, those of the trials in it. `leases`, which tell who is alive, are no history and are overwritten.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Integer, MetaData, Table, Text

__all__ = [
    "VERSION",
    "adoptions",
    "cohorts",
    "edits",
    "ends",
    "epochs",
    "events",
    "findings",
    "leases",
    "metadata",
    "purged",
    "search_steps",
    "searches",
    "sessions",
    "trash_moves",
    "trials",
    "versions",
]

VERSION = 6
"""Raised with each change of the tables; a log of another version is rejected."""

metadata = MetaData()

versions = Table(
    "schema_versions",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
)

# a process that writes; on its machine, pid and start together tell whether it still lives
# process_started: epoch seconds. machine: where the pid can be looked up
sessions = Table(
    "sessions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", Float, nullable=False),
    Column("created", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("machine", Text),
)

# when a session last said that it is alive: epoch seconds by the database server's clock, or this machine's for a file
leases = Table(
    "leases",
    metadata,
    Column("session", Integer, ForeignKey("sessions.id"), primary_key=True, autoincrement=False),
    Column("renewed", Float, nullable=False),
)

# numbers for trials that train together
cohorts = Table("cohorts", metadata, Column("id", Integer, primary_key=True), Column("created", Text, nullable=False))

trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("session", Integer, ForeignKey("sessions.id"), nullable=False),
    Column("created", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("parent", Integer, ForeignKey("trials.id"), index=True),
    Column("parent_epoch", Integer),
    Column("task", Text, nullable=False),
    Column("task_fingerprint", Text, nullable=False),
    Column("metric", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("cohort", Integer),
    Column("config", Text, nullable=False),
    Column("builder", Text),
    Column("builder_source", Text),
    Column("search", Integer),
    Column("suggestion", Integer),
    Column("configuration", Text),
    sqlite_autoincrement=True,
)

# what was searched and how; options: JSON of the space, the base setting, the budget and the pruner
searches = Table(
    "searches",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("session", Integer, ForeignKey("sessions.id"), nullable=False),
    Column("created", Text, nullable=False),
    Column("task_fingerprint", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("continues", Integer),
    Column("options", Text, nullable=False),
    sqlite_autoincrement=True,
)

# the journal of a search: what it asked for and heard, in order, so that it can be taken up; data: JSON
search_steps = Table(
    "search_steps",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("search", Integer, ForeignKey("searches.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("created", Text, nullable=False),
)

# sessions that go on with a trial another one left unfinished: the last one owns it, else `trials.session`
adoptions = Table(
    "adoptions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial", Integer, ForeignKey("trials.id"), nullable=False, index=True),
    Column("session", Integer, ForeignKey("sessions.id"), nullable=False),
    Column("created", Text, nullable=False),
)

# SQLite keeps NaN as NULL; these columns have no other use for NULL
epochs: Table = Table(
    "epochs",
    metadata,
    Column("trial", Integer, ForeignKey("trials.id"), primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("step", Integer, nullable=False),
    Column("train_loss", Float),
    Column("penalty", Float),
    Column("train_metric", Float),
    Column("val_loss", Float),
    Column("val_metric", Float),
    Column("learning_rate", Float),
    Column("grad_norm", Float),
    Column("seconds", Float),
)

# kind: state (name: the state), change (of a hyperparameter by hand), message, cohort (name: the series, epoch: after how
# many), branch (name: the parent, message: JSON of the old and new value by field)
events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial", Integer, ForeignKey("trials.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("epoch", Integer),
    Column("step", Integer),
    Column("name", Text, nullable=False),
    Column("old", Float),
    Column("new", Float),
    Column("message", Text, nullable=False),
    Column("created", Text, nullable=False),
)

# the last word on a trial, with what a table of many trials shows, so that it need not read their epochs
ends = Table(
    "ends",
    metadata,
    Column("trial", Integer, ForeignKey("trials.id"), primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("epochs_run", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("best_epoch", Integer, nullable=False),
    Column("best_val_loss", Float),
    Column("best_val_metric", Float),
    Column("train_loss", Float),
    Column("val_loss", Float),
    Column("val_metric", Float),
    Column("seconds", Float),
    Column("reason", Text, nullable=False),
    Column("traceback", Text, nullable=False),
    Column("created", Text, nullable=False),
)

# later words on a trial's name, note or tags: the last one counts
edits = Table(
    "annotations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial", Integer, ForeignKey("trials.id"), nullable=False, index=True),
    Column("field", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("created", Text, nullable=False),
)

# what was found out after the training (see findings.py): kind and its data, JSON. It speaks of trials by number and
# outlives them: that a test set was opened stays true when the trial is removed
findings = Table(
    "findings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("session", Integer, ForeignKey("sessions.id"), nullable=False),
    Column("created", Text, nullable=False),
    Column("kind", Text, nullable=False, index=True),
    Column("task_fingerprint", Text, nullable=False),
    Column("data", Text, nullable=False),
    sqlite_autoincrement=True,
)

# into the trash and out of it, by `action` "deleted" and "restored": the last one counts. No foreign key, here and in
# `purged`: the rows outlive the trial
trash_moves = Table(
    "trash",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial", Integer, nullable=False, index=True),
    Column("action", Text, nullable=False),
    Column("created", Text, nullable=False),
)

# trials whose rows are removed for good; search, suggestion: what a search needs to know when it is continued
purged = Table(
    "purged",
    metadata,
    Column("trial", Integer, primary_key=True, autoincrement=False),
    Column("search", Integer),
    Column("suggestion", Integer),
    Column("created", Text, nullable=False),
)
