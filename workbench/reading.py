"""The reading half of `Workbench`: tables, figures, configurations, models and scripts out of the log. Nothing here
writes or trains
on record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.checkpoints import CheckpointStore
from workbench.core.config import Config
from workbench.core.errors import LogError, RunError
from workbench.log import TrialLog
from workbench.methods.comparison.patience_advice import PatienceAdvice, patience_advice
from workbench.methods.data_versions.versions import version_changes, version_drift, versions
from workbench.methods.diagnosis.diagnose import Diagnosis, diagnose, prescriptions, rules_table
from workbench.methods.ensembles.build import assembled
from workbench.methods.layers.watch import Layers, read_layers
from workbench.methods.test_set.open import history
from workbench.runs.arguments import a_text, check_count, listed_trials, trial_numbers
from workbench.runs.branch import Tree, tree
from workbench.runs.replay import script
from workbench.runs.restore import logged_config, whole
from workbench.runs.run import Run
from workbench.runs.session import Session
from workbench.ui.figures import NotebookFigure

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from workbench.methods.ensembles.ensemble import Ensemble
    from workbench.runs.trained_model import TrainedModel

__all__ = ["Reader"]


class Reader:
    """What can be read of a log on one task."""

    _session: Session

    @property
    def log(self) -> TrialLog:
        """The trial log itself."""
        return self._session.log

    @property
    def trials(self) -> pd.DataFrame:
        """Every attempt in the log, one row a trial; those on other tasks included (see the column `task`)."""
        return self._session.log.trials()

    @property
    def searches(self) -> pd.DataFrame:
        """Every search in the log, one row each: its number, strategy, space, budget and how many trials it started."""
        return self._session.log.searches()

    def leaderboard(self, top: int | None = 20) -> pd.DataFrame:
        """Settings on this task by their mean validation metric over seeds, best first; only trials that ran to their end.

        One row a configuration: rank, trial (its first), seeds (different ones: the same again is no further
        evidence; a branch, or
        a trial with live changes, is a row of its own, since it is no draw of the configuration it shows), mean, low
        and high (95% confidence interval of the mean by Student's t, NaN for one seed), p_value and tied: whether it cannot
        be told from the best at 5% by Welch's two-sided t-test. Where a configuration has one seed, or seeds without any spread,
        its variance is taken as the pooled variance of those with more; nothing is told apart while no configuration has two that
        differ. All of this is about seeds: it does not say how the configurations compare on other rows. Then the hyperparameters
        in which the configurations differ. top: rows, None for all. Where there are ensembles, they stand among the
        configurations with
        their score on the validation rows; the column `ensemble` has their numbers, and `corrected`, low and high what to
        expect of them on new rows, where nothing was chosen. They have no trial, seeds and p_value. Where the test set was
        opened for a trial of a configuration, or for an ensemble, `test_metric` and `test_set` have the last such score and its
        stamp.
        """
        top = None if top is None else check_count("top", top, None)
        return self._session.reads.leaderboard_with_configurations(top)

    def importance(self, search: int | None = None, *, evaluator: str = "fanova") -> pd.DataFrame:
        """Share of the variation of the validation metric that each hyperparameter explains, largest first.

        search: only the trials of one search, by default all on this task; comparisons across other configurations mix effects.
        evaluator: "fanova" or "ped_anova" (optuna's). The column `trials` says how many trials it rests on; below 10 for
        each hyperparameter a UserWarning says that it is a hint only. Raises: RunError with fewer than 4 trials.
        """
        from workbench.methods.comparison.importance import importance

        frame = self._session.reads.trials_of(self._search(search))
        return importance(frame, better=self._session.reads.better, evaluator=a_text(evaluator, "evaluator"))

    def range_edges(self, search: int | None = None) -> pd.DataFrame:
        """The searched ranges at whose end the best trials lie, so that a better value may lie beyond.

        search: its number, by default the last one. One row a range: hyperparameter, side, best, low, high, and wider_low,
        wider_high: the range to search next.
        """
        found = self._session.reads.range_edges(self._search(search))
        columns = ["hyperparameter", "side", "best", "low", "high", "wider_low", "wider_high"]
        rows = [(b.name, b.side, b.best, b.domain.low, b.domain.high, b.wider.low, b.wider.high) for b in found]
        return pd.DataFrame(rows, columns=columns)

    def plot(
        self, kind: str = "parallel", *names: str, search: int | None = None, trials: Sequence[int] | None = None
    ) -> NotebookFigure:
        """A matplotlib figure over many trials: "parallel" coordinates, "scatter" of two hyperparameters, "slices",
        "importance", "complexity" (metric against training time and parameter count, with the Pareto fronts).

        names: the hyperparameters, by default those that vary. search, trials: which trials, by default all on this task.
        Raises: ConfigError for an unknown kind or name; RunError when there is nothing to draw.
        """
        numbers = None if trials is None else listed_trials(trials)
        return self._session.reads.plot(
            a_text(kind, "kind"), tuple(a_text(one, "names") for one in names), self._search(search), numbers
        )

    def _search(self, number: int | None) -> int | None:
        """The number of a search that is in the log, None for none. Raises: LogError, RunError for any other."""
        if number is None:
            return None
        number = whole("search", number)
        if number not in set(self._session.log.searches()["search"]):
            raise LogError(f"search {number} is not in the log; see bench.searches")
        return number

    def diagnose(self, trial: int) -> Diagnosis:
        """What is wrong with a trial, if anything: a verdict with evidence and a prescription that `try_it` starts.

        The rules (see `rules()`) look at its curves, those of its other seeds, the best known score on this task, and its
        layers at the initial and at the trained weights on some training rows. Nothing is trained for it: where no weights are
        at hand (no checkpoint is kept), the notes say so. `verdict` is the name of a rule, "at_baseline" where none finds
        anything but the score is no better than the baseline's, or "healthy"; `figure()` marks the evidence. A trial that still
        trains is judged by the epochs it has.
        Raises: LogError for an unknown trial; RunError for one in the trash, on another task, of another metric or without a
        finished epoch.
        """
        return diagnose(self._session, whole("trial", trial))

    def prescriptions(self) -> pd.DataFrame:
        """Every prescription that was tried in this log, on any task, one row each, and whether it helped.

        Columns: trial, rule, how ("new", "branch" or "seeds"), changes, tried (the new trials), score_before and score_after
        (best validation metric, the mean of several new trials), difference, helped, compared (what was compared, in words, with
        an interval over the seeds if there are several), repeat (whether it is the very same as an earlier row).
        helped: by the measure of its rule, as `rules()` names it. The best metric has to be better by more than one standard
        error of the old one, by the number of validation rows (accuracy, R² and RMSE; of other metrics, better at all); or the
        validation loss at the end lower, with the best metric kept, or reached in fewer epochs where early stopping was
        prescribed. More seeds have helped when the leaderboard now tells the two configurations apart.
        <NA> while they train, where a trial is in the trash, and for a metric that is not registered here. Read from
        the trials as
        they are now.
        """
        return prescriptions(self._session)

    def rules(self) -> pd.DataFrame:
        """The rules of the diagnosis, one row each: rule, title, meaning, and its record on this log: tried (prescriptions
        whose trials have ended, the very same once), helped, share, low and high (95% Clopper-Pearson interval of the share;
        NaN for none), measure: by what `prescriptions()` judges them."""
        return rules_table(self._session)

    def complexity(self) -> pd.DataFrame:
        """What each trial on this task cost and reached: is a larger model, or a longer training, worth it?

        One row a trial: trial, state, model, parameters (trained ones; NaN if the model is not registered here), seconds (its
        share of the training time of its cohorts), wall_seconds (the time its cohorts took), epochs_run, best_val_metric;
        pareto: no other trial is as good in metric, seconds and parameters and better in one; pareto_seconds,
        pareto_parameters: the same in the metric and one cost. A trial that diverged or failed is on no front. Every metric is
        that of one seed: what a front shows, further seeds have to confirm. `bench.plot("complexity")` draws it.
        """
        return self._session.reads.complexity()

    def suggest_patience(self) -> PatienceAdvice:
        """How many epochs to wait for a lower validation loss before stopping early, learned from this task's trials.

        Early stopping is played on the curves of all trials that ran to their last epoch without it, with every patience.
        `suggestion` is the smallest one with which 95% of the trials come within the noise of their best (the spread over
        seeds if there are replicates, else the jumps from epoch to epoch); None if none saves epochs at that price.
        `reason` says it in words, with exact and bootstrap intervals, `table` has a row for each patience, `figure()` draws
        it. Raises: RunError with fewer than 5 trials.
        """
        reads = self._session.reads
        return patience_advice(self._session.task, reads.log, better=reads.better, metric_label=reads.metric_label)

    def curves(self, *trials: int) -> pd.DataFrame:
        """Learning curves, one row an epoch, of the given trials or of all."""
        return self._session.log.curves(*trial_numbers("curves", trials))

    def events(self, *trials: int) -> pd.DataFrame:
        """What happened beside the epochs: live changes, pauses, messages."""
        return self._session.log.events(*trial_numbers("events", trials))

    def config(self, trial: int) -> Config:
        """The Config a trial started with. Raises: LogError for an unknown trial; ConfigError naming what is not registered."""
        trial = whole("trial", trial)
        return logged_config(trial, self._session.log.config(trial))

    def code(self, trial: int) -> str:
        """A Python script that stands by itself and does this trial again: its task, its configuration, its live
        changes, and, of a
        branch, the path that leads to it. Raises: LogError for an unknown trial; RunError for one on another task."""
        return script(self._session, whole("trial", trial))

    def tree(self, trial: int | None = None) -> Tree:
        """The branches on this task as a tree, or the tree that a trial belongs to; `tree().frame` has one row a branch."""
        return tree(self._session, None if trial is None else whole("trial", trial))

    def model(self, trial: int, epoch: int | None = None) -> TrainedModel:
        """A trial's `nn.Module` with its best weights (lowest validation loss), or those after an epoch, ready to predict.

        What no checkpoint holds is trained again first, in silence, from the checkpoint before. Raises: LogError for an unknown
        trial; RunError for one without a finished epoch, on another task, or for an epoch it does not have; ModelError if the
        backbone of a fine-tuned trial has other weights here; CheckpointError if the checkpoint that is needed is damaged.
        """
        trial = whole("trial", trial)
        run = self._session.run_of(trial)
        at_hand = None if run is None or epoch is not None else run.weights_of(trial)
        return self._session.recall.model(trial, epoch, at_hand)

    def predict(self, trial: int, X: Any) -> NDArray[Any]:
        """The answers of a trial's best model for raw rows, like those that the task was made from: labels (rows,) of the
        target's own kind, or numbers in its units, (rows,) if the target is, else (rows, outputs).
        Raises: as `model`; TaskError for rows of another kind."""
        return self.model(trial).predict(X)

    def save(self, trial: int | Ensemble, path: str | Path, *, epoch: int | None = None) -> Path:
        """Write a trial's model into one safe file, for `wb.load_model(path)`: weights, configuration, preprocessing, versions.

        trial: or an ensemble; epoch is of a trial only. Returns its path.
        Raises: as `model`; CheckpointError if it cannot be written, or the preprocessing not be kept.
        """
        from workbench.methods.ensembles.ensemble import Ensemble, save_ensemble
        from workbench.runs.trained_model import save_model

        if isinstance(path, str):
            a_text(path, "path")
        return save_ensemble(trial, path) if isinstance(trial, Ensemble) else save_model(self.model(trial, epoch), path)

    @property
    def ensembles(self) -> pd.DataFrame:
        """The ensembles made on this task, one row each: ensemble (its number), name, select, trials and votes of the members,
        metric, score on the validation rows, corrected (what to expect on new rows), optimism, low and high (95%), gain over a
        best single trial with gain_low and gain_high, how, note, complete (each member is in the log, outside
        the trash), created, test_metric and test_set (its last score on the test set, and the stamp)."""
        return self._session.reads.ensembles()

    def load_ensemble(self, number: int) -> Ensemble:
        """An ensemble of the log by its number, as `bench.ensemble()` returned it, ready to predict.

        Raises: RunError for a number that is not in the log, an ensemble on another task, or one with a member in the trash;
        as `model` for a member.
        """
        return assembled(self._session, whole("ensemble", number))

    @property
    def openings(self) -> pd.DataFrame:
        """Who has looked at this task's test rows: one row an opening, with its score, interval, optimism and stamp.

        Openings on another preprocessing, division or version of the data are listed too, if they saw any of these rows.
        """
        return history(self._session)

    def layers(self, trial: int, epoch: int | None = None) -> Layers:
        """The inside of a trial's network with its best weights, or those after an epoch, layer by layer: `frame`, `figure()`.

        Weights (how many are nearly zero, as L1 makes them; their norm, which L2 keeps small), activations before and after
        normalisation, dead units; on at most 256 training rows, in evaluation mode. Raises: as `model`.
        """
        return read_layers(self.model(trial, epoch), self._session.task)

    def decision_boundary(self, trial: int, epoch: int | None = None) -> NotebookFigure:
        """The decision boundary of a trial on a task with two inputs, as a matplotlib figure, with training and validation rows.

        Raises: as `model`; RunError for a task with more inputs, or fewer.
        """
        return self.layers(trial, epoch).decision_boundary()

    @property
    def versions(self) -> pd.DataFrame:
        """The versions of this task's data in the log (see `bench.continue_on`), one row each, oldest first.

        version (1 is the task by itself; others count on in the order in which they were begun), current, name, rows by split,
        new_rows, moved (the columns that drifted, of `columns` that were compared), trials on it, best (the best validation
        metric, each version's on its own rows), created, note, fingerprint, and former: the fingerprint it came from.
        """
        return versions(self._session)

    @property
    def version_changes(self) -> pd.DataFrame:
        """What the versions of this task changed for each configuration that was continued: `version` and the columns of
        `Continuation.table`. Where a kernel ended before the comparison did, the intervals are missing."""
        return version_changes(self._session)

    @property
    def drift(self) -> pd.DataFrame:
        """Which columns moved when the data of this task got a new version: `version` and the columns of
        `workbench.methods.data_versions.drift.drift`, of each version the 50 columns that moved most."""
        return version_drift(self._session)

    @property
    def checkpoints(self) -> CheckpointStore:
        """The checkpoints of this log: `budget` in bytes, `used`, `folder`."""
        return self._session.checkpoints

    @property
    def trash(self) -> pd.DataFrame:
        """The deleted trials, one row each; `bench.restore()` brings them back, `bench.empty_trash()` removes them for good."""
        return self._session.log.trash()

    def figure(self, *trials: int) -> NotebookFigure:
        """Learning curves as a matplotlib figure, of the given trials or of the last run. Raises: RunError without any."""
        shown = [[trial] for trial in trial_numbers("figure", trials)] or self._session.reads.seeds_together(
            self._session.last_trials()
        )
        if not shown:
            raise RunError("there is no trial to draw yet; train one with bench.run(wb.Config())")
        return self._session.reads.figure(shown)

    @property
    def selected(self) -> list[int]:
        """The trials whose rows are selected in the table."""
        return list(self._session.selected)

    @property
    def active(self) -> list[Run]:
        """The run that trains now and those that wait for it."""
        return self._session.runner.runs
