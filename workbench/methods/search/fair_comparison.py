"""A fair comparison: each value of a hyperparameter is tuned by a search of its own, then replicated with new seeds."""

from __future__ import annotations

import pandas as pd

from workbench.core.config import Config
from workbench.methods.comparison.figure import intervals
from workbench.methods.comparison.reads import Reads
from workbench.methods.search.campaign import Campaign
from workbench.methods.search.handle import Search
from workbench.methods.search.request import SearchRequest
from workbench.runs.session import Session
from workbench.training import Training
from workbench.ui.figures import NotebookFigure

__all__ = ["Comparison"]


class Comparison(Search):
    """A fair comparison under way: a search for each value, then new seeds of the best configuration of each.

    field: the hyperparameter that is compared. nuisance: those that are tuned for each of its values.
    """

    def __init__(
        self, session: Session, request: SearchRequest, number: int, training: Training, campaign: Campaign
    ) -> None:
        assert request.field is not None
        self.field, self.nuisance = request.field, tuple(request.space)
        self._session, self._reads = session, Reads.of(session)
        super().__init__(number, request.label, training, campaign, pump=session.keep_live)

    @property
    def table(self) -> pd.DataFrame:
        """One row a value, best first, from the new seeds alone.

        Columns: the compared field, mean, low and high (95% confidence interval), seeds, p_value and tied (against the best, by
        the test of `bench.leaderboard`), tuned_score (the best of the tuning, too good, since it was selected for),
        configurations (budget of the tuning), epochs (all that the value's trials trained for), trial, and
        the tuned values (missing where the value does not read one).
        """
        frame = self._reads.trials_of(self.number)
        records = self._session.log.records([int(trial) for trial in frame["trial"]])
        frame = frame.assign(value=[str(records[int(trial)].config[self.field]) for trial in frame["trial"]])
        finals = frame[frame["source"] == "replicate"]
        names = {"trial": "trial", "value": "configuration", "seed": "seed", "best_val_metric": "score"}
        scores = finals[list(names)].rename(columns=names)
        board = self._reads.ranked(scores, self._reads.task.metric)
        rows = []
        for row in board.itertuples(index=False):
            tuning = frame[(frame["value"] == row.configuration) & (frame["source"] != "replicate")]
            first = finals[finals["value"] == row.configuration].iloc[0]
            config = Config(**records[int(first["trial"])].config)
            tuned = {name: getattr(config, name) if config.uses(name) else None for name in self.nuisance}
            parent = frame[frame["trial"] == first["parent"]].iloc[0]
            rows.append(
                {
                    self.field: row.configuration, "mean": row.mean, "low": row.low, "high": row.high, "seeds": row.seeds,
                    "p_value": row.p_value, "tied": row.tied, "tuned_score": parent["best_val_metric"],
                    "configurations": len(tuning),
                    "epochs": int(frame.loc[frame["value"] == row.configuration, "epochs_run"].sum()),
                    "trial": int(parent["trial"]), **tuned,
                }
            )  # fmt: skip
        return pd.DataFrame(rows)

    def figure(self) -> NotebookFigure:
        """The table as a figure: mean and interval of each value."""
        return intervals(self.table, label=self.field, metric_label=self._reads.metric_label)
