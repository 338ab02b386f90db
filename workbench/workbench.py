"""`Workbench`: the public calls, and the only place that connects task, engine, log and views."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.checkpoints import CheckpointStore
from workbench.core.config import Config
from workbench.core.errors import ConfigError, LogError, Problem, RunError
from workbench.core.registration import register_models
from workbench.core.registry import Scoped, user_choices
from workbench.core.warn import callers_level
from workbench.log import TrialLog
from workbench.methods.comparison.patience_advice import PatienceAdvice, patience_advice
from workbench.methods.comparison.reads import Reads
from workbench.methods.comparison.rescore import rescore
from workbench.methods.data_versions.continue_on import Continuation, continue_on
from workbench.methods.data_versions.versions import version_changes, version_drift, versions
from workbench.methods.diagnosis.diagnose import Diagnosis, diagnose, prescriptions, rules_table, try_it
from workbench.methods.diff.diff import diff
from workbench.methods.diff.view import TrialDiff
from workbench.methods.ensembles.build import TOP, assemble, assembled, nothing_to_choose
from workbench.methods.errors.errors import TrialErrors, trial_errors
from workbench.methods.finetuning.finetune import ALL_BUT_THE_HEAD, finetune
from workbench.methods.layers.watch import Layers, read_layers
from workbench.methods.range_test.range_test import HIGH, LOW, RangeTest, range_test
from workbench.methods.refit.refit import refit
from workbench.methods.search.fair_comparison import Comparison
from workbench.methods.search.handle import Search
from workbench.methods.search.options import DEFAULT, DEFAULTS, Default, given_options
from workbench.methods.search.request import SearchRequest, continued
from workbench.methods.search.resume import resume_search
from workbench.methods.search.start import start_comparison, start_search
from workbench.methods.tabs import TABS
from workbench.methods.test_set.open import TestResult, history, open_test_set
from workbench.runs.arguments import (
    a_choice,
    a_config,
    a_flag,
    a_place,
    a_space,
    a_task,
    a_text,
    check_count,
    check_device,
    listed_trials,
    live_changes,
    plain_whole,
    search_numbers,
    some_tags,
    some_values,
    steps_to_stop,
    trial_numbers,
)
from workbench.runs.branch import Tree, branch, tree
from workbench.runs.publisher import LogChanged
from workbench.runs.replay import Replay, replay, script
from workbench.runs.restore import logged_config, whole
from workbench.runs.resume import resume
from workbench.runs.run import Run, Runs
from workbench.runs.session import Session
from workbench.training import prepare
from workbench.ui.control_limits import ControlLimits, control_limits
from workbench.ui.figures import NotebookFigure
from workbench.ui.presenter import Presenter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from workbench.methods.decisions.calibrate import CalibrationResult
    from workbench.methods.decisions.threshold import ChosenThreshold
    from workbench.methods.ensembles.ensemble import Ensemble
    from workbench.runs.trained_model import TrainedModel
    from workbench.tasks import Task
    from workbench.ui.tab import Tab

__all__ = ["Workbench"]

MAX_SEEDS = 1000


class Workbench(Scoped):
    """Tune one task's model by hand and by search; display it as a cell's last value.

    task: what to learn. log: where every attempt is recorded: a path, an SQLAlchemy URL, or None (in memory). models: your
    own builders by name, `build(task, *, width=wb.IntRange(8, 256)) -> nn.Module`; of a list of builders the last one trains,
    and the earlier ones restore trials that were trained with them. They belong to this Workbench. device: where new trials
    train by default ("cpu", "cuda", "cuda:1", "mps"). checkpoints: the folder for the states of the trials, by default next
    to the log; see `bench.checkpoints` for its size. controls: the hyperparameters that the interface shows, by default all;
    the others keep their values. ranges: (low, high) by hyperparameter, for a control and a search that is set up by hand:
    `Workbench(task, controls=["learning_rate", "l2"], ranges={"learning_rate": (1e-4, 1)})`. Calls are not limited by them.

    A Workbench that is made while another one trains on the same log and task, by the same metrics and monitor (a cell that is
    run again), attaches to the running training; nothing is started twice.
    Raises: LogError if the log cannot be opened; ConfigError naming the argument that is wrong, or the task's metric.
    """

    def __init__(
        self,
        task: Task,
        log: str | os.PathLike[str] | None = None,
        *,
        models: Mapping[str, Callable[..., Any] | Sequence[Callable[..., Any]]] | None = None,
        device: str = "cpu",
        checkpoints: str | os.PathLike[str] | None = None,
        controls: Sequence[str] | None = None,
        ranges: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        self.choices = user_choices().for_workbench()
        with self.choices.active():
            task = a_task(task)
            log = a_place(log, "log", "for a log in memory")
            checkpoints = a_place(checkpoints, "checkpoints", "to keep them next to the log")
            self.device = check_device(device)
            register_models(models)
            self.control_limits = control_limits(controls, ranges, task.suggested_config(), task.kind)
            self._session = Session.of(task, log, checkpoints)
            self.task = self._session.task
            self._presenter, self._reads = Presenter.of(self._session), Reads.of(self._session)

    # --- training ---------------------------------------------------------------------------------------------------

    def start(
        self,
        config: Config | None = None,
        *,
        seeds: int = 1,
        name: str = "",
        note: str = "",
        tags: Sequence[str] = (),
        device: str | None = None,
        changes: Sequence[tuple[int, str, float]] = (),
        stop_after: int | None = None,
    ) -> Run:
        """Train one configuration in the background and return at once.

        seeds: number of replicates, with seeds from `config.seed` upwards, trained as one cohort. name, note, tags: for the
        log. changes: live changes to make automatically, as (step, hyperparameter, value): in force after that optimizer
        step. stop_after: optimizer steps after which to stop. The same call again while it is running (a cell that was run
        again) returns the running `Run`.
        Raises: ConfigError naming the field; ModelError if the model cannot be built; nothing is logged then.
        """
        config = prepare(self.task, a_config(config))
        seeds = check_count("seeds", seeds, MAX_SEEDS)
        device = self._device(device)
        configs = [config.replace(seed=config.seed + i) for i in range(seeds)]
        return self._session.start(
            configs,
            name=a_text(name, "name"),
            note=a_text(note, "note"),
            tags=some_tags(tags),
            device=device,
            changes=live_changes(changes),
            stop_after=steps_to_stop(stop_after),
        )

    def run(self, config: Config | None = None, **options: Any) -> Run:
        """`start`, then wait while the plots stay live. Interrupting the kernel stops the run and keeps its epochs."""
        return self.start(config, **options).wait()

    def search(
        self,
        strategy: str | Any = DEFAULT,
        space: Mapping[str, Any] | None = None,
        base: Config | None = None,
        *,
        where: Callable[[Config], bool] | Default | None = DEFAULT,
        trials: int | None = None,
        seconds: float | None = None,
        no_improvement: int | None = None,
        pruner: str | Any | None = DEFAULT,
        seeds: int | Default = DEFAULT,
        seed: int | Default = DEFAULT,
        points: int | Default = DEFAULT,
        cohort: int | None = None,
        continues: int | Search | None = None,
        name: str = "",
        note: str = "",
        tags: Sequence[str] = (),
        device: str | None = None,
        blocking: bool = False,
    ) -> Search:
        """Search a space in the background; the trials train in cohorts and are recorded in the same log as manual ones.

        strategy: "random" (default), "grid", "sobol", "tpe", "gp", "cmaes", or an optuna sampler. space: a domain for each
        hyperparameter to search: `wb.Range`, `wb.LogRange`, `wb.IntRange`, `wb.Choice`, or a list, range or array of values;
        those of the models, losses, optimizers and schedules that `base` or the space chooses are searched by their names. base:
        the values of all other hyperparameters. where: which configurations may be tried, such as
        `where=lambda c: c.hidden_layers * c.hidden_units < 1024`. Strategies that learn from results begin with all earlier
        trials on this task that lie in the space and agree with `base` in the rest, manual ones included.

        Budget: no new configuration starts after `trials` configurations, after `seconds`, or after `no_improvement`
        configurations in a row without a better one; 64 configurations (or the whole grid) if none is given. "random" and
        "sobol" on a space with an end try each configuration once; elsewhere a configuration that is drawn again is trained with
        another seed. pruner: "median", "halving", "hyperband", "patience" or an optuna pruner; None (default) for none. seeds:
        replicates of each configuration (1), trained together; the strategy gets their mean. seed: of the strategy (0); the same
        seed gives the same configurations (with `cohort` given too, the same results to the last bit). points: values of a range
        in a grid (5). cohort: trials that train together; by default from memory and a short measurement. continues: an earlier
        search to continue, with its strategy, space, base, pruner, seeds, seed and points unless they are given; a constraint
        has to be given again. blocking: wait for the end.

        Raises: ConfigError naming the argument or hyperparameter, also if no configuration of the space can be trained; nothing
        is logged then.
        """
        blocking = a_flag(blocking, "blocking")
        base = None if base is None else a_config(base, "base")
        options: dict[str, Any] = {
            "strategy": strategy, "pruner": pruner, "seeds": seeds, "seed": seed, "points": points, "where": where,
        }  # fmt: skip
        given: dict[str, Any] = {
            **given_options(options), "trials": trials, "seconds": seconds, "no_improvement": no_improvement,
            "cohort": cohort, "name": a_text(name, "name"), "note": a_text(note, "note"), "tags": some_tags(tags),
            "device": self._device(device), **({} if space is None else {"space": a_space(space, "space")}),
            **({} if base is None else {"base": base}),
        }  # fmt: skip
        given |= search_numbers(given)
        if continues is not None:
            earlier = continues.number if isinstance(continues, Search) else whole("search", continues)
            given = continued(self._session, earlier, given)
        search = start_search(self._session, SearchRequest(**{**DEFAULTS, "space": {}, "base": Config(), **given}))
        return search.wait() if blocking else search

    def compare(
        self,
        field: str,
        values: Sequence[Any] | None = None,
        *,
        nuisance: Mapping[str, Any],
        base: Config | None = None,
        where: Callable[[Config], bool] | None = None,
        trials: int = 16,
        seeds: int = 3,
        strategy: str | Any = "random",
        seed: int = 0,
        name: str = "",
        note: str = "",
        tags: Sequence[str] = (),
        device: str | None = None,
        blocking: bool = False,
    ) -> Comparison:
        """Compare the values of one hyperparameter fairly, with the others tuned separately for each value.

        For each value of `field` (all entries of a table of choices, or `values`) the `nuisance` hyperparameters are searched
        with the same number of `trials` (fewer if it has fewer configurations) and the same seed of the strategy; `where` says
        which configurations may be tried, as in `search`. The best configuration of each is then trained
        with `seeds` new seeds, which did not take part in its selection, and these decide. All trials share cohorts.
        Returns a handle: `wait()`, `table`, `figure()`. Raises: ConfigError naming the argument.
        """
        blocking = a_flag(blocking, "blocking")
        request = SearchRequest(
            strategy, a_space(nuisance, "nuisance"), a_config(base, "base"), seed=seed, where=where,
            trials=None if trials is None else check_count("trials", trials, 1_000_000),
            name=a_text(name, "name"), note=a_text(note, "note"), tags=some_tags(tags), device=self._device(device),
            finals=check_count("seeds", seeds, MAX_SEEDS),
        )  # fmt: skip
        comparison = start_comparison(self._session, request, field, some_values(values))
        return comparison.wait() if blocking else comparison

    def add_seeds(
        self,
        top: int = 3,
        seeds: int = 5,
        *,
        trials: Sequence[int] | None = None,
        device: str | None = None,
    ) -> Run:
        """Train `seeds` more seeds of the configurations that cannot be distinguished from the best, among the `top` of the
        leaderboard.

        trials: those whose configurations are trained instead. Returns the run. Raises: RunError if no trial has ended, or
        none has a score; for a trial that was changed live, which no seed can repeat; for one that is of other data.
        """
        top = check_count("top", top)
        seeds = check_count("seeds", seeds, MAX_SEEDS)
        if trials is None:
            board = self._reads.leaderboard(top)
            # those that were changed live cannot be repeated by a seed
            board = board[board["tied"] & ~board["trial"].isin(self._session.log.results.altered())]
            if board.empty:
                message = "there is no ended trial to add seeds to; train one with bench.run(wb.Config())"
                raise nothing_to_choose(self._session, message)
            chosen = [int(trial) for trial in board["trial"]]
        else:
            chosen = listed_trials(trials)
            self._session.recall.check_repeatable(*chosen)
        configs: dict[int, list[Config]] = {}
        configurations = {trial: self._session.log.record(trial).configuration for trial in chosen}
        taken = self._reads.seeds_of(list(configurations.values()))
        for trial in chosen:
            config, used = self.config(trial), taken[configurations[trial]]
            free = (seed for seed in range(config.seed, 2**31) if seed not in used)
            configs[trial] = [prepare(self.task, config.replace(seed=next(free))) for _ in range(seeds)]
            used.update(one.seed for one in configs[trial])
        return self._session.replicate(configs, device=self._device(device))

    def lr_range_test(
        self,
        config: Config | None = None,
        *,
        low: float = LOW,
        high: float = HIGH,
        points: int = 48,
        seeds: int = 3,
        steps: int = 100,
        device: str | None = None,
        blocking: bool = False,
    ) -> RangeTest:
        """Find a learning rate for a configuration: train `points` rates from `low` to `high` for about `steps` optimizer
        steps each, with `seeds` seeds, as one stacked cohort.

        The schedule is constant, without warm-up and early stopping; all else is as in `config`. Nothing is entered into the
        log, and trials that train meanwhile are not affected: the test has a thread and a core of its own. Returns a handle
        at once: `wait()`, `stop()`, awaitable; then `suggestion`, `reason`, `table`, `figure()`, `largest_stable`. The
        suggestion is the middle, on a log scale, of the rates whose validation loss at the end is as good as the best.
        blocking: wait for the end.

            rate = bench.lr_range_test(config).wait().suggestion

        Raises: ConfigError naming the argument; ModelError if the model cannot be built.
        """
        blocking = a_flag(blocking, "blocking")
        test = range_test(
            self._session, a_config(config), low=low, high=high, points=points, seeds=seeds, steps=steps,
            device=self._device(device),
        )  # fmt: skip
        return test.wait() if blocking else test

    # --- going back -------------------------------------------------------------------------------------------------

    def branch(
        self,
        trial: int,
        epoch: int | None = None,
        *,
        seeds: int = 1,
        name: str = "",
        note: str = "",
        tags: Sequence[str] = (),
        device: str | None = None,
        script: Sequence[tuple[int, str, float]] = (),
        stop_after: int | None = None,
        **changes: Any,
    ) -> Run:
        """Continue a trial from an epoch (by default its last) as a new trial, with some hyperparameters changed.

        All may change but the architecture; another optimizer starts with an empty state, which is logged. The epochs of the
        branch count on from its parent's. Epochs that no checkpoint holds are trained again first. seeds: number of branches,
        with seeds from the parent's upwards; the first continues with the parent's random numbers. script, stop_after: as
        `changes` and `stop_after` of `start`. Returns at once; the same call while it trains returns its run.
        Raises: LogError, RunError for a trial or epoch that does not exist, or a trial in the trash; ConfigError for an
        invalid change; ModelError if the model of the trial is another one here; CheckpointError if the checkpoint is
        damaged. Nothing is logged then.
        """
        seeds = check_count("seeds", seeds, MAX_SEEDS)
        return branch(
            self._session, whole("trial", trial), epoch, changes, seeds=seeds, name=a_text(name, "name"),
            note=a_text(note, "note"), tags=some_tags(tags), device=self._device(device), script=live_changes(script),
            stop_after=steps_to_stop(stop_after),
        )  # fmt: skip

    def try_it(self, diagnosis: Diagnosis | int, rule: str | None = None, *, device: str | None = None) -> Run:
        """Start what a diagnosis prescribes: a branch, a new run, or more seeds. The log records that it was tried.

        diagnosis: the result of `diagnose`, or a trial number. rule: the finding to act on, by default the main one.
        `prescriptions()` shows the outcome, `rules()` how often each rule was right. Returns at once; while the same
        prescription is being tried, its run is returned.
        Raises: RunError if there is nothing to try, or the trial is in the trash; ConfigError for an unknown rule or an
        invalid change. Nothing is logged then.
        """
        device = self._device(device)
        given = diagnosis if isinstance(diagnosis, Diagnosis) else whole("trial", diagnosis)
        return try_it(self._session, given, a_choice(rule, "rule"), device=device)

    def finetune(
        self,
        from_trial: int | None = None,
        task: Task | None = None,
        *,
        backbone: str | Callable[[], Any] | None = None,
        freeze: str | int | None = ALL_BUT_THE_HEAD,
        learning_rate_factor: float = 0.1,
        unfreeze_at: int | None = None,
        config: Config | None = None,
        seeds: int = 1,
        name: str = "",
        note: str = "",
        tags: Sequence[str] = (),
        device: str | None = None,
    ) -> Run:
        """Train a new head, and the layers that are not frozen, on a trained network; returns at once.

        from_trial: a trial of this log, whose best model is the start; its head stays if the classes are the same. backbone:
        instead, a pretrained network, by its registered name or as a function that returns it (see `wb.register_backbone`).
        task: what to learn, by default this Workbench's task; trials on another task are entered into the same log, see
        `Workbench(task, log=...)`. freeze: the layers that keep their weights and stay in evaluation mode: a number of groups
        from the input, the name of the last of them, "all but the head", or None. unfreeze_at: the epoch after which they
        train too, with a new optimizer state. learning_rate_factor: factor of the group nearest the input; up to the head,
        whose factor is 1, it grows geometrically. config: all other hyperparameters, by default the trial's. seeds: number of
        heads, with seeds from `config.seed` upwards, in one cohort: the outputs of frozen layers are computed once. The same
        call while it trains returns its run.

        The three hyperparameters belong to the registered model: `bench.search(base=bench.config(run.trials[0]), ...)` can
        search them.
        Raises: LogError, RunError for a trial that is unknown, not ended, in the trash or without a model; ModelError naming
        the shapes of inputs that do not fit, or if the model of the trial is another one here; TaskError; ConfigError naming
        the argument, with the groups that exist. Nothing is logged then.
        """
        seeds = check_count("seeds", seeds, MAX_SEEDS)
        return finetune(
            self._session, from_trial=None if from_trial is None else whole("from_trial", from_trial),
            task=None if task is None else a_task(task),
            backbone=backbone, freeze=plain_whole(freeze), learning_rate_factor=learning_rate_factor,
            unfreeze_at=plain_whole(unfreeze_at),
            config=None if config is None else a_config(config), seeds=seeds, name=a_text(name, "name"),
            note=a_text(note, "note"), tags=some_tags(tags), device=self._device(device),
        )  # fmt: skip

    def replay(self, trial: int, *, device: str | None = None) -> Replay:
        """Train a trial again from its first step, live changes included, as a new trial, and compare the two.

        After `wait()`: `identical`, `within_tolerance`, `differences` (one row per epoch and value), `verdict`. A trial that
        trained alone is reproduced to the last bit on the same machine; one that trained together with others, within the
        tolerance given in the verdict. Raises: LogError, RunError for a trial that cannot be replayed, or is in the trash;
        ModelError if the model of the trial is another one here.
        """
        return replay(self._session, whole("trial", trial), device=None if device is None else check_device(device))

    def refit(
        self,
        trial: int,
        *,
        seeds: int = 1,
        name: str = "",
        note: str = "",
        tags: Sequence[str] = (),
        device: str | None = None,
    ) -> Run:
        """Train a trial's configuration again on the training and validation rows together, as the last step before the test
        set or deployment; returns at once.

        It trains for as many epochs as the trial needed to its best one. The schedule keeps the length that the configuration
        plans, and is followed up to that epoch; drops of the plateau schedule and live changes are repeated in the same epochs,
        and so is the path to a branch; there is no early stopping. Preprocessing is fitted to the same rows. seeds: number of
        refits, with seeds from the trial's upwards, in one cohort.

        The result is a trial with the source "refit" and without a validation score: it stands in no leaderboard, no search
        learns from it, and it cannot be diagnosed. It decides as the trial does, with its calibration and threshold, if it has
        any (see `calibrate`, `threshold`). `model`, `predict`, `save` and `open_test_set` take it, with the weights after
        its last epoch. The same call while it trains returns its run.
        Raises: LogError, RunError for a trial that is unknown, not ended, diverged, in the trash, or a refit itself;
        TaskError for a copied task; ModelError if the model of the trial is another one here. Nothing is logged then.
        """
        seeds = check_count("seeds", seeds, MAX_SEEDS)
        return refit(
            self._session, whole("trial", trial), seeds=seeds, name=a_text(name, "name"), note=a_text(note, "note"),
            tags=some_tags(tags), device=self._device(device),
        )  # fmt: skip

    def resume(self) -> Runs:
        """Continue the runs and searches that a killed kernel left behind, from their last checkpoints.

        Returns a handle of all of them (`wait()`, `pause()`, `stop()`; empty if there are none). Trials that another living
        kernel trains are not touched. Raises: ConfigError naming a model, loss, optimizer or schedule of your own that is not
        registered; nothing is changed then.
        """
        return resume(self._session, resume_search)

    def delete(self, *trials: int) -> None:
        """Move trials to the trash: they disappear from every table and chart; `restore` brings them back.

        Raises: LogError if one is unknown, already in the trash, or still training; nothing is changed then.
        """
        numbers = trial_numbers("delete", trials)
        self._session.log.trash.delete(numbers)
        self._session.forget(numbers)

    def restore(self, *trials: int) -> list[int]:
        """Bring deleted trials back, all of them by default; returns their numbers. Raises: LogError for one not in the trash."""
        restored = self._session.log.trash.restore(trial_numbers("restore", trials) or None)
        self._session.publish([LogChanged(restored=tuple(restored))])
        return restored

    def empty_trash(self) -> tuple[list[int], list[int]]:
        """Remove the deleted trials and their checkpoints permanently.

        Returns the numbers removed, and those kept because a trial outside the trash was made from them.
        """
        return self._session.empty_trash()

    def ensemble(
        self,
        top: int = TOP,
        *,
        trials: Sequence[int] | None = None,
        select: str | None = None,
        size: int = 20,
        candidates: int = 40,
        name: str = "",
        note: str = "",
    ) -> Ensemble:
        """Average the best models of several trials, of any architectures, and enter the ensemble into the log.

        Classification: the mean of the probabilities; regression: the mean of the predictions. By default the members are the
        best trial of each of the `top` configurations of the leaderboard. select="greedy": from the `candidates` best trials,
        `size` votes are given one by one to the trial that improves the validation metric most, with replacement (Caruana et
        al. 2004). trials: the members instead of the leaderboard's top or, with "greedy", the candidates; a trial that is
        named twice has two votes.

        Under a cross-validation each member is a trial with the models of all its folds, each with its own preprocessing, also a
        single one: `trials=[7]` is an ensemble of the folds of trial 7. All of them vote on new rows. The score is out-of-fold:
        the mean over the folds, where only the models vote that did not train on the fold's validation rows.

        A selection on the validation rows makes the score on them optimistic. The result estimates by how much: `optimism`,
        `corrected` and `interval`, from an out-of-bag bootstrap that repeats the selection; it also says whether the ensemble
        beats a best single trial that was selected in the same way. It predicts like `bench.model(trial)`, has a row in the
        leaderboard, and `bench.save` writes it into one file. The same ensemble again has the same number. Models that are
        neither in memory nor in a checkpoint are trained again first, without a record.
        Raises: ConfigError naming the argument; LogError, RunError for a trial that is unknown, in the trash, on another
        task, not ended, diverged or without a finite epoch, or if no trial has ended; nothing is logged then.
        """
        if isinstance(top, (list, tuple)):  # who votes, where the first argument is how many configurations do
            message = (
                f"top={top!r}: must be a whole number; to name the trials that vote, ensemble(trials={list(top)!r})"
            )
            raise ConfigError([Problem("top", top, message)])
        return assemble(
            self._session, top=check_count("top", top), trials=None if trials is None else listed_trials(trials),
            select=a_choice(select, "select"), size=check_count("size", size),
            candidates=check_count("candidates", candidates), name=a_text(name, "name"), note=a_text(note, "note"),
        )  # fmt: skip

    def threshold(
        self,
        trial: int,
        by: str | None = "f1",
        *,
        costs: Mapping[str, float] | None = None,
        positive: Any = None,
    ) -> ChosenThreshold | None:
        """Choose the threshold between two classes for a trial's best model, on the validation rows.

        by: the score that is highest with it: "f1" (of the positive class), "balanced_accuracy" or "youden" (sensitivity +
        specificity - 1); None removes the threshold, and the most probable class is predicted again. costs: instead, what a
        mistake costs, such as {"false_positive": 1, "false_negative": 5}; the mean cost is lowest with the threshold. positive:
        the label of the positive class, by default the second one. If the probabilities are calibrated (`calibrate`, to be called
        first), the threshold is on the calibrated ones. Of a cross-validated trial the rows are the validation rows of all folds
        together, each with the probability of the model that did not train on it (out-of-fold).

        The log keeps it, and `bench.model`, `predict`, `save` and `open_test_set` use it from then on and say so, for a refit of
        the trial as well. Scores of trials in tables are those of the most probable class. Returns the threshold with the score
        before and after, which is optimistic, since it was chosen on the same rows; None if it was removed.
        Raises: TaskError for a task without two classes, or without a validation row of one of them; ConfigError naming the
        argument; LogError, RunError for a trial that is unknown, not ended, in the trash, or a refit. Nothing is logged then.
        """
        from workbench.methods.decisions.threshold import choose_threshold

        return choose_threshold(self._session, whole("trial", trial), by, costs, positive)

    def calibrate(self, trial: int, method: str | None = "temperature") -> CalibrationResult | None:
        """Calibrate the probabilities of a trial's best model on the validation rows, with scikit-learn.

        method: "temperature" (one parameter; Guo et al. 2017), "sigmoid" (Platt 1999) or "isotonic" (needs many rows); None
        removes the calibration. Of a cross-validated trial it is fitted on out-of-fold probabilities, as scikit-learn's
        `CalibratedClassifierCV(ensemble=False)` does. The log keeps it, and `bench.model`, `predict_proba`, `save` and
        `open_test_set` use it from then on and say so, for a refit of the trial as well. A threshold of the model is removed,
        since its probabilities change. Ensembles average the uncalibrated probabilities of their members.
        Returns log loss, Brier score and expected calibration error before and after, on the same rows and so optimistic; None if
        it was removed. Raises: TaskError for a task without classes, or without a validation row of one of them; ConfigError for
        an unknown method; LogError, RunError for a trial that is unknown, not ended, in the trash, or a refit. Nothing is logged
        then.
        """
        from workbench.methods.decisions.calibrate import calibrate

        return calibrate(self._session, whole("trial", trial), method)

    def open_test_set(self, trial: int | Ensemble, *, again: bool = False, only_unseen: bool = False) -> TestResult:
        """Evaluate a trial's best model, or an ensemble, on the sealed test set: once, at the very end. The evaluation is
        recorded.

        Returns the score with a 95% interval (exact for accuracy, else bootstrapped), the optimism (validation minus test
        score) and the number of trials that were measured on the validation split. Rows that were evaluated before, also in
        another kernel or under another preprocessing or split, need again=True, and the result is marked "reused (n)".
        only_unseen: evaluate only on test rows that were never evaluated, as a new version of the data brings them; the
        result is marked "opened once". Raises: TaskError if the task has no test split; SealError, with the earlier
        evaluation, if the rows were evaluated before, or no row is left; RunError, LogError for a trial that is unknown, not
        ended, in the trash or without a model; ModelError if the model of the trial is another one here, or the metric is not
        defined on the rows; ConfigError for invalid arguments. Nothing is opened then.
        """
        return open_test_set(self._session, trial, again=again, only_unseen=only_unseen)

    def continue_on(
        self,
        new_data: Any,
        *,
        top: int = 5,
        seeds: int = 1,
        name: str = "",
        note: str = "",
        device: str | None = None,
        blocking: bool = False,
    ) -> Continuation[Workbench]:
        """Continue with more or newer data: a new version of the task, on which the best configurations are measured and
        trained again.

        new_data: all rows of the new version, old and new (for a table `pd.concat([old, new])`), in the form the task was
        made from: a DataFrame or the path of a CSV file with the same columns, a pair (X, y), a torch data set; or a result
        of `task.version(new_data)`. Old rows stay in their split, so that no test row is ever trained on. A UserWarning says
        how many old rows are missing. For the `top` configurations of the leaderboard, the best trial's model with its own
        preprocessing is measured on the new validation rows, and the configuration is trained again with `seeds` seeds, from
        its first step, without the live changes that it had, in the same log.
        Returns a handle at once: `wait()`, `task`, `bench` (a Workbench on the new version), `table` (the change per
        configuration and whether it is beyond noise), `drift` (which columns moved, by which test), `figure()`,
        `drift_figure()`. All of it is logged: `bench.versions`, `bench.version_changes`. The same call while it is running
        returns the same handle. Raises: TaskError for other columns, types, shapes or classes, rows without a target, or no
        new row; RunError if no trial has ended by itself; ConfigError, ModelError for a configuration that the new version
        cannot take. Nothing is changed then.
        """
        blocking = a_flag(blocking, "blocking")
        top = check_count("top", top)
        seeds = check_count("seeds", seeds, MAX_SEEDS)
        device, name, note = self._device(device), a_text(name, "name"), a_text(note, "note")
        found: Continuation[Workbench] = continue_on(
            self._session, new_data, top=top, seeds=seeds, name=name, note=note, device=device,
            workbench=lambda session: Workbench._of(session, self.device, self.control_limits),
        )  # fmt: skip
        return found.wait() if blocking else found

    def _device(self, device: object) -> str:
        """The device given to a call, or this Workbench's for None. Raises: ConfigError."""
        return check_device(self.device if device is None else device)

    @classmethod
    def _of(cls, session: Session, device: str, limits: ControlLimits | None = None) -> Workbench:
        """A Workbench on an existing session."""
        bench: Workbench = cls.__new__(cls)
        bench.task, bench.device, bench._session = session.task, device, session
        bench.control_limits = limits or ControlLimits()
        bench._presenter, bench._reads = Presenter.of(session), Reads.of(session)
        return bench

    def annotate(
        self, trial: int, *, name: str | None = None, note: str | None = None, tags: Sequence[str] | None = None
    ) -> None:
        """Set a trial's name, note or tags; None leaves one unchanged."""
        given = {"name": name, "note": note}
        texts = {field: a_text(value, field) for field, value in given.items() if value is not None}
        kept = None if tags is None else some_tags(tags)
        self._session.log.annotate(whole("trial", trial), **texts, tags=kept)
        self._session.publish([LogChanged()])

    # --- reading: nothing here writes to the log or records a trial ------------------------------------------------------------

    @property
    def log(self) -> TrialLog:
        """The trial log itself."""
        return self._session.log

    @property
    def trials(self) -> pd.DataFrame:
        """Every attempt in the log, one row per trial, also those on other tasks (see the column `task`)."""
        return self._session.log.trials()

    @property
    def searches(self) -> pd.DataFrame:
        """Every search in the log, one row each: number, strategy, space, budget and how many trials it started."""
        return self._session.log.searches.table()

    def leaderboard(self, top: int | None = 20) -> pd.DataFrame:
        """The configurations on this task by their mean validation metric over seeds, best first; only trials that ended by
        themselves.

        One row per configuration: rank, trial (its first), seeds (distinct ones), mean, low and high (95% confidence interval
        of the mean by Student's t, NaN for one seed), p_value and tied: whether it cannot be distinguished from the best at
        5% by Welch's two-sided t-test. The variance of a configuration with one seed, or without spread, is the pooled
        variance of the others; if no configuration has two seeds that differ, all are tied. The intervals are about seeds,
        not about other validation rows. Under a cross-validation they are about folds instead: p_value is that of the corrected
        resampled t-test (Nadeau and Bengio 2003), and the interval, by the same variance, is approximate. A branch, or a trial
        with live changes, is a row of its own, since it does not belong to the configuration it ends with. Then follow the
        hyperparameters in which the configurations differ. top: number of
        rows, None for all.

        Ensembles are ranked by their score on the validation rows: `ensemble` is their number; `corrected`, low and high say
        what to expect on new rows. `test_metric` and `test_set` are the last score on the test set and its mark, if it was
        opened.
        """
        top = None if top is None else check_count("top", top, None)
        return self._reads.leaderboard_with_configurations(top)

    def rescore(self, metrics: str | Sequence[str], trials: Sequence[int] | None = None) -> pd.DataFrame:
        """Compute metrics of earlier trials on the validation rows, with the weights of their best epoch.

        They stand in `bench.trials` as `val_<name>` from then on; what the trials were ranked by, and their best epochs, stay.
        metrics: names in the metrics table. trials: by default all of this task that have a model; those whose model cannot be
        had are listed with the reason. Returns one row a trial: trial, epoch, val_<name>, reason.
        Raises: ConfigError for a metric that does not suit the task; for trials that are named, as `model`.
        """
        return rescore(self._session, metrics, trials)

    def importance(self, search: int | None = None, *, evaluator: str = "fanova") -> pd.DataFrame:
        """Share of the variance of the validation metric that each hyperparameter explains, largest first.

        search: only the trials of one search, by default all on this task; a mix of searches mixes their effects. evaluator:
        "fanova" or "ped_anova" (optuna's). The column `trials` is the number of trials used; below 10 per hyperparameter a
        UserWarning says that the result is a hint only. Raises: RunError with fewer than 4 trials.
        """
        from workbench.methods.comparison.importance import importance

        frame = self._reads.trials_of(self._search(search))
        return importance(frame, better=self._reads.better, evaluator=a_text(evaluator, "evaluator"))

    def range_edges(self, search: int | None = None) -> pd.DataFrame:
        """The searched ranges at whose edge the best trials lie, so that a better value may lie outside.

        search: its number, by default the last one. One row per range: hyperparameter, side, best, low, high, and wider_low,
        wider_high: the range to search next.
        """
        found = self._reads.range_edges(self._search(search))
        columns = ["hyperparameter", "side", "best", "low", "high", "wider_low", "wider_high"]
        rows = [(b.name, b.side, b.best, b.domain.low, b.domain.high, b.wider.low, b.wider.high) for b in found]
        return pd.DataFrame(rows, columns=columns)

    def plot(
        self, kind: str = "parallel", *names: str, search: int | None = None, trials: Sequence[int] | None = None
    ) -> NotebookFigure:
        """A matplotlib figure over many trials: "parallel" coordinates, "scatter" of two hyperparameters, "slices", "importance",
        "complexity" (metric against training time and parameter count, with the Pareto fronts).

        names: the hyperparameters, by default those that vary. search, trials: which trials, by default all on this task.
        Raises: ConfigError for an unknown kind or name; RunError if there is nothing to draw.
        """
        numbers = None if trials is None else listed_trials(trials)
        return self._reads.plot(
            a_text(kind, "kind"), tuple(a_text(one, "names") for one in names), self._search(search), numbers
        )

    def _search(self, number: int | None) -> int | None:
        """The number of a search in the log; None stays None. Raises: LogError, RunError for any other."""
        if number is None:
            return None
        number = whole("search", number)
        if number not in set(self._session.log.searches.table()["search"]):
            raise LogError(f"search {number} is not in the log; see bench.searches")
        return number

    def diff(self, *trials: int) -> TrialDiff:
        """What two or more trials differ in: `bench.diff(7, 9).table`, one row for each difference and one column a trial.

        Hyperparameters, live changes, branch points, code of your own builders, version of the data, and the scores of all
        metrics with the mean of the configuration over its seeds, its 95% interval, and the p-value against the first trial,
        as `leaderboard` computes them. Only what differs is listed, the scores always. Trials on other versions of this task's
        data (see `continue_on`) and trials in the trash are accepted; their scores are not compared.
        Raises: ConfigError for fewer than two different trials; LogError for an unknown one; RunError for one on another task.
        """
        return diff(self._session, trial_numbers("diff", trials))

    def diagnose(self, trial: int) -> Diagnosis:
        """What is wrong with a trial, if anything: a verdict with evidence and a prescription that `try_it` starts.

        The rules (see `rules()`) examine its curves, its other seeds, the best score on this task, and the layers with
        initial and trained weights on some training rows. Nothing is trained: if no weights are available, the notes say so.
        `verdict` is the name of a rule, "at_baseline" if no rule applies but the score is no better than the baseline, or
        "healthy"; `figure()` marks the evidence. A trial that is still training is diagnosed from the epochs it has.
        Raises: LogError for an unknown trial; RunError for one in the trash, on another task, with another metric or without
        a finished epoch.
        """
        return diagnose(self._session, whole("trial", trial))

    def prescriptions(self) -> pd.DataFrame:
        """Every prescription that was tried in this log, on any task, one row each, and whether it helped.

        Columns: trial, rule, how ("new", "branch" or "seeds"), changes, tried (the new trials), score_before and score_after
        (best validation metric; the mean of several new trials), difference, helped, compared (what was compared, in words,
        with an interval over the seeds if there are several), repeat (whether an earlier row is the same).
        helped: by the measure of its rule (see `rules()`). The best metric has to improve by more than one standard error of
        the old one for this number of validation rows (accuracy, R² and RMSE; other metrics: improve at all); or the final
        validation loss is lower while the best metric is kept; or, for early stopping, it is reached in fewer epochs. More
        seeds have helped if the leaderboard now distinguishes the two configurations. <NA> while they train, if a trial is in
        the trash, and for a metric that is not registered here. Computed from the trials as they are now.
        """
        return prescriptions(self._session)

    def rules(self) -> pd.DataFrame:
        """The rules of the diagnosis, one row each: rule, title, meaning, and its record in this log: tried (distinct
        prescriptions whose trials have ended), helped, share, low and high (95% Clopper-Pearson interval of the share; NaN
        for none), measure (see `prescriptions`).
        """
        return rules_table(self._session)

    def complexity(self) -> pd.DataFrame:
        """What each trial on this task cost and reached: is a larger model, or longer training, worth it?

        One row per trial: trial, state, model, parameters (trained ones; NaN if the model is not registered here), seconds
        (its share of the training time of its cohorts), wall_seconds (the time of its cohorts), epochs_run, best_val_metric;
        pareto: no other trial is as good in metric, seconds and parameters and better in one; pareto_seconds,
        pareto_parameters: the same for the metric and one cost. Trials that diverged or failed are on no front. Each metric
        is that of one seed; confirm a front with more seeds. `bench.plot("complexity")` draws it.
        """
        return self._reads.complexity()

    def suggest_patience(self) -> PatienceAdvice:
        """How many epochs to wait for a better value of the monitor before stopping early, estimated from this task's trials.

        Early stopping with every patience is simulated on the curves of all trials that trained to their last epoch without
        it. `suggestion` is the smallest patience with which 95% of the trials come within the noise of their best (the spread
        over seeds if there are replicates, else the changes from epoch to epoch); None if none saves epochs under that
        condition. `reason` explains it, with exact and bootstrap intervals; `table` has one row per patience; `figure()`
        draws it. Raises: RunError with fewer than 5 trials.
        """
        reads = self._reads
        return patience_advice(self._session.task, reads.log, better=reads.better, metric_label=reads.metric_label)

    def curves(self, *trials: int) -> pd.DataFrame:
        """Learning curves of the given trials, or of all: one row per epoch."""
        return self._session.log.curves(*trial_numbers("curves", trials))

    def events(self, *trials: int) -> pd.DataFrame:
        """What happened between the epochs: live changes, pauses, messages."""
        return self._session.log.events(*trial_numbers("events", trials))

    def config(self, trial: int) -> Config:
        """The Config a trial started with. Raises: LogError for an unknown trial; ConfigError naming what is not registered."""
        trial = whole("trial", trial)
        return logged_config(trial, self._session.log.record(trial).config)

    def code(self, trial: int) -> str:
        """A self-contained Python script that repeats this trial: its task, its configuration, its live changes and, for a
        branch, the trials it came from. Raises: LogError for an unknown trial; RunError for one on another task.
        """
        return script(self._session, whole("trial", trial))

    def tree(self, trial: int | None = None) -> Tree:
        """The branches on this task as a tree, or the tree that a trial belongs to; `tree().frame` has one row per branch."""
        return tree(self._session, None if trial is None else whole("trial", trial))

    def model(self, trial: int, epoch: int | None = None, *, fold: int | None = None) -> TrainedModel:
        """A trial's `nn.Module` with its best weights (those of its best epoch; of a refit the last ones), or those after an
        epoch, ready to predict.

        fold: of a cross-validated trial, the number of the fold from 1, whose training rows and preprocessing the model has.
        Epochs that no checkpoint holds are trained again first, without a record. Raises: LogError for an unknown trial;
        RunError for one without a finished epoch, on another task, or for an epoch or fold it does not have; ModelError if the
        model of the trial is another one here; CheckpointError if the checkpoint is damaged. Warns if the outputs of the model
        are not those that were measured; its `mismatch` says how they differ.
        """
        model = self._session.recall.model(whole("trial", trial), epoch, fold)
        if model.mismatch:
            warnings.warn(f"trial {trial}: {model.mismatch}", UserWarning, stacklevel=callers_level())
        return model

    def predict(self, trial: int, X: Any, *, fold: int | None = None) -> NDArray[Any]:
        """Predictions of a trial's best model for raw rows, in the form the task was made from.

        Returns labels (rows,) of the target's own type, or numbers in its unit, (rows,) or (rows, outputs) as the target.
        Raises: as `model`; TaskError for rows of another kind.
        """
        return self.model(trial, fold=fold).predict(X)

    def save(
        self, trial: int | Ensemble, path: str | Path, *, epoch: int | None = None, fold: int | None = None
    ) -> Path:
        """Write a trial's model, or an ensemble, into one safe file for `wb.load_model(path)`: weights, configuration,
        preprocessing, versions.

        epoch: of a trial, by default the best. fold: as of `model`. Returns the path. Raises: as `model`; CheckpointError if
        it cannot be written, or the preprocessing cannot be stored.
        """
        from workbench.methods.ensembles.ensemble import Ensemble, save_ensemble
        from workbench.runs.trained_model import save_model

        if isinstance(path, str):
            a_text(path, "path")
        if isinstance(trial, Ensemble):
            return save_ensemble(trial, path)
        return save_model(self.model(trial, epoch, fold=fold), path)

    def report(
        self, trials: int | Sequence[int] | Run | None, path: str | os.PathLike[str], *, search: int | None = None
    ) -> Path:
        """Write a report into one HTML file that opens in any browser, without a kernel or a network.

        trials: a number, a list of numbers, a run or a search; None with the number of a search of the log, `search`. The
        report has scores, configuration, learning curves, the facts of the data and the environment; of one trial also its live
        changes, epochs, script and, if its best weights are at hand, its errors on the validation rows; of up to six trials
        what they differ in; of a search its set-up and figures. Nothing is trained. A file of that name is replaced. Returns
        the path. Raises: ConfigError, LogError, RunError for a trial or search that is unknown, on another task or in the
        trash, or a file that cannot be written.
        """
        from workbench.methods.report.report import report

        place = a_place(path, "path", "")
        if place is None:
            raise ConfigError([Problem("path", path, "path=None: give the path of a file, such as 'report.html'")])
        if trials is not None and search is not None:
            raise ConfigError(
                [Problem("search", search, f"search={search!r}: give trials=None with it, or leave it out")]
            )
        if isinstance(trials, Run) and trials.search is not None:
            search = trials.search
        elif trials is None and search is None:
            remedy = "give the number of a trial, a list of numbers, a run or a search"
            raise ConfigError([Problem("trials", None, f"trials=None: {remedy}, or search=3 with trials=None")])
        if search is not None:
            search = self._search(search)
            numbers = [int(trial) for trial in self._reads.trials_of(search)["trial"]]
        elif isinstance(trials, Run):
            numbers = list(trials.trials)
        else:
            numbers = listed_trials(trials) if isinstance(trials, (list, tuple)) else [whole("trial", trials)]
        return report(self._session, list(dict.fromkeys(numbers)), search, place)

    def errors(
        self,
        trial: int,
        epoch: int | None = None,
        *,
        split: str = "validation",
        fold: int | None = None,
        top: int = 20,
    ) -> TrialErrors:
        """Where a trial's model is wrong: confusion matrix, scores by class and calibration, or residuals, and the worst rows.

        epoch: whose weights, by default those of the best one; epochs that no checkpoint holds are trained again first,
        without a record. split: "validation" or "train". Of a cross-validated trial each row is judged by the model of the
        fold that did not train on it; fold: the rows of this fold only, from 1. A prediction is the most probable class, as in
        all tables of scores, also where a threshold was chosen. top: how many of the worst rows are listed with their inputs.
        Returns a `TrialErrors` with DataFrames (`summary`, `confusion`, `per_class`, `calibration`, `rows`, `worst`), `figure()`
        and, of a task on pictures, `pictures()`. Raises: as `model`; RunError for a refit; SealError for the test split;
        ConfigError for another split, or for the training rows of all folds.
        """
        return trial_errors(
            self._session, whole("trial", trial), None if epoch is None else whole("epoch", epoch), split,
            check_count("top", top), None if fold is None else whole("fold", fold),
        )  # fmt: skip

    @property
    def ensembles(self) -> pd.DataFrame:
        """The ensembles on this task, one row each: ensemble (its number), name, select, trials and votes of the members,
        metric, score on the validation rows, corrected (what to expect on new rows), optimism, low and high (95%), gain
        over a best single trial with gain_low and gain_high, how, note, complete (all members are in the log, outside the
        trash), created, test_metric and test_set (its last score on the test set, and its mark).
        """
        return self._reads.ensembles()

    def load_ensemble(self, number: int) -> Ensemble:
        """An ensemble of the log by its number, ready to predict.

        Raises: RunError for a number that is not in the log, an ensemble on another task, or one with a member in the trash; as
        `model` for a member.
        """
        return assembled(self._session, whole("ensemble", number))

    @property
    def openings(self) -> pd.DataFrame:
        """The evaluations on this task's test rows, one row each: who, when, score, interval, optimism and mark.

        Evaluations under another preprocessing, split or version of the data are included if they used any of these rows.
        """
        return history(self._session)

    def layers(self, trial: int, epoch: int | None = None, *, fold: int | None = None) -> Layers:
        """The layers of a trial's network with its best weights, or those after an epoch: `frame`, `figure()`.

        Weights (share near zero, as L1 produces; norm, which L2 reduces), activations before and after normalization, dead
        units; on at most 256 training rows, in evaluation mode. fold: as of `model`. Raises: as `model`.
        """
        model, task = self.model(trial, epoch, fold=fold), self._session.recall.refits.task_of(trial)
        return read_layers(model, task, None if fold is None else whole("fold", fold))

    def decision_boundary(self, trial: int, epoch: int | None = None, *, fold: int | None = None) -> NotebookFigure:
        """The decision boundary of a trial on a task with two inputs, as a matplotlib figure, with training and validation rows.

        fold: as of `model`. Raises: as `model`; RunError for a task with more or fewer inputs.
        """
        return self.layers(trial, epoch, fold=fold).decision_boundary()

    @property
    def versions(self) -> pd.DataFrame:
        """The versions of this task's data in the log (see `bench.continue_on`), one row each, oldest first.

        version (1 is the original task), current, name, rows by split, new_rows, moved (the columns that drifted, of
        `columns` that were compared), trials on it, best (the best validation metric, on its own rows), created, note,
        fingerprint, and former: the fingerprint of the version before.
        """
        return versions(self._session)

    @property
    def version_changes(self) -> pd.DataFrame:
        """What the versions of this task changed for each configuration that was continued: `version` and the columns of
        `Continuation.table`. The intervals are missing if a kernel ended before the comparison did.
        """
        return version_changes(self._session)

    @property
    def drift(self) -> pd.DataFrame:
        """Which columns moved when the data of this task got a new version: `version` and the columns of
        `workbench.methods.data_versions.drift.drift`; for each version the 50 columns that moved most.
        """
        return version_drift(self._session)

    @property
    def checkpoints(self) -> CheckpointStore:
        """The checkpoints of this log: `budget` in bytes, `used`, `folder`."""
        return self._session.checkpoints

    @property
    def trash(self) -> pd.DataFrame:
        """The deleted trials, one row each; `bench.restore()` brings them back, `bench.empty_trash()` removes them
        permanently.
        """
        return self._session.log.trash.trials()

    def figure(self, *trials: int) -> NotebookFigure:
        """Learning curves of the given trials, or of the last run, as a matplotlib figure. Raises: RunError if there are none."""
        shown = [[trial] for trial in trial_numbers("figure", trials)] or self._reads.seeds_together(
            self._presenter.last_trials()
        )
        if not shown:
            raise RunError("there is no trial to draw yet; train one with bench.run(wb.Config())")
        return self._reads.figure(shown)

    @property
    def selected(self) -> list[int]:
        """The trials that are selected in the table."""
        return list(self._presenter.selected)

    @property
    def active(self) -> list[Run]:
        """The run that is training and those that wait for it."""
        return self._session.runner.runs

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the log as it is now to a new SQLite file, also during training. Checkpoints are not copied.

        path: of the copy. Raises: ConfigError for an invalid path; LogError if the file exists or cannot be written, or the
        log is on a PostgreSQL server.
        """
        place = a_place(path, "path", "")
        if place is None:
            raise ConfigError([Problem("path", path, "path=None: give the path of a new file")])
        self._session.log.backup(place)

    # --- display ----------------------------------------------------------------------------------------------------

    @property
    def presenter(self) -> Presenter:
        """What displays this Workbench: `presenter.view`, once it was displayed, and `presenter.session` with the runner."""
        return self._presenter

    def _ipython_display_(self) -> None:
        tabs: Sequence[Tab[Workbench, Any]] = TABS  # for mypy: a Workbench has what each tab calls
        self._presenter.show(self, tabs)

    def __repr__(self) -> str:
        return f"<Workbench on {self.task.name!r}, log {self._session.log.url}: {self._reads.summary()}>"
