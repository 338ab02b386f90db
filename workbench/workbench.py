"""`Workbench`: the only place where task, engine, log and views are wired together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.checkpoints import CheckpointStore
from workbench.core.config import Config
from workbench.core.errors import ConfigError, LogError, Problem, RunError
from workbench.core.registration import register_models
from workbench.log import TrialLog
from workbench.methods.comparison.patience_advice import PatienceAdvice, patience_advice
from workbench.methods.comparison.reads import Reads
from workbench.methods.data_versions.continue_on import Continuation, continue_on
from workbench.methods.data_versions.versions import version_changes, version_drift, versions
from workbench.methods.diagnosis.diagnose import Diagnosis, diagnose, prescriptions, rules_table, try_it
from workbench.methods.ensembles.build import TOP, assemble, assembled, nothing_to_choose
from workbench.methods.finetuning.finetune import ALL_BUT_THE_HEAD, finetune
from workbench.methods.layers.watch import Layers, read_layers
from workbench.methods.range_test.range_test import HIGH, LOW, RangeTest, range_test
from workbench.methods.search.fair_comparison import Comparison
from workbench.methods.search.handle import Search
from workbench.methods.search.options import DEFAULTS
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
from workbench.ui.figures import NotebookFigure
from workbench.ui.presenter import Presenter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from workbench.methods.ensembles.ensemble import Ensemble
    from workbench.runs.trained_model import TrainedModel
    from workbench.tasks import Task

__all__ = ["Workbench"]

MAX_SEEDS = 1000


class Workbench:
    """Tune one task's model by hand and by search; display it as a cell's last value.

    task: what to learn. log: where every attempt is kept: a path, an SQLAlchemy URL, or None (in memory).
    models: builders of your own by name, `build(task, *, width=wb.IntRange(8, 256)) -> nn.Module`;
    of a list of builders the last one trains, and the earlier ones restore trials that were trained with them.
    device: where new trials train unless told otherwise ("cpu", "cuda", "cuda:1", "mps"). checkpoints: the folder for the states
    of the trials after their epochs, by default beside the log; see `bench.checkpoints` for what they may take.

    A Workbench made while another one trains on the same log and task (a cell that is run again) attaches to the training
    that goes on; it starts nothing twice.
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
    ) -> None:
        self.task = a_task(task)
        log = a_place(log, "log", "for a log in memory")
        checkpoints = a_place(checkpoints, "checkpoints", "to keep them beside the log")
        self.device = check_device(device)
        register_models(models)
        self._session = Session.of(task, log, checkpoints)
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

        seeds: train this many replicates, with seeds from `config.seed` upwards, as one cohort. name, note, tags: for the
        log. changes: live changes to make by themselves, as (step, hyperparameter, value): in force from the optimizer step
        after it on. stop_after: optimizer steps after which to stop. While the very same call is still running (a cell that
        was run again), its run is returned instead of a second.
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
        """`start`, then wait with the plots kept live. The kernel's interrupt stops the run cleanly and keeps its epochs."""
        return self.start(config, **options).wait()

    def search(
        self,
        strategy: str | Any = "random",
        space: Mapping[str, Any] | None = None,
        base: Config | None = None,
        *,
        trials: int | None = None,
        seconds: float | None = None,
        no_improvement: int | None = None,
        pruner: str | Any | None = None,
        seeds: int = 1,
        seed: int = 0,
        points: int = 5,
        cohort: int | None = None,
        continues: int | Search | None = None,
        name: str = "",
        note: str = "",
        tags: Sequence[str] = (),
        device: str | None = None,
        blocking: bool = False,
    ) -> Search:
        """Search a space in the background; the trials train in cohorts and land in the same log as manual ones.

        strategy: "grid", "random", "sobol", "tpe", "gp", "cmaes", or an optuna sampler. space: a domain for each
        hyperparameter searched: `wb.Range`, `wb.LogRange`, `wb.IntRange`, `wb.Choice` or a list. base: the configuration of all
        others. Strategies that learn know every earlier trial on this task that lies in the space and agrees with `base`
        in what is not searched, manual ones included.

        Budget: no new configuration is started after `trials` configurations, after `seconds`, or after
        `no_improvement` configurations
        in a row without a better one; 64 configurations (or the whole grid) when none is given. pruner: "median", "halving",
        "hyperband", "patience" or an optuna pruner. seeds: replicates of each configuration, trained together and told to the
        strategy as their mean. seed: of the strategy: the same seed gives the same configurations (with `cohort` given too,
        the same results to the last bit). points: values a grid takes of a range. cohort: trials that train together;
        by default from memory and a short measurement. continues: an earlier search to go on with; what is not given
        anew stays. blocking: wait for the end, as `search(...).wait()`.

        Raises: ConfigError naming the argument or hyperparameter; nothing is logged then.
        """
        blocking = a_flag(blocking, "blocking")
        base = None if base is None else a_config(base, "base")
        given: dict[str, Any] = {
            "strategy": strategy, "space": space, "base": base, "trials": trials, "seconds": seconds,
            "no_improvement": no_improvement, "pruner": pruner, "seeds": seeds, "seed": seed, "points": points,
            "cohort": cohort, "name": a_text(name, "name"), "note": a_text(note, "note"), "tags": some_tags(tags),
            "device": self._device(device),
        }  # fmt: skip
        given |= search_numbers(given)
        if space is not None:
            given["space"] = a_space(space, "space")
        if continues is not None:
            defaults = {**DEFAULTS, "space": None, "base": None}
            anew = {name: value for name, value in given.items() if name not in defaults or value != defaults[name]}
            given = continued(
                self._session, continues.number if isinstance(continues, Search) else whole("search", continues), anew
            )
        given["space"] = {} if given["space"] is None else given["space"]
        given["base"] = given["base"] or Config()
        search = start_search(self._session, SearchRequest(**given))
        return search.wait() if blocking else search

    def compare(
        self,
        field: str,
        values: Sequence[Any] | None = None,
        *,
        nuisance: Mapping[str, Any],
        base: Config | None = None,
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
        """Compare the values of one hyperparameter fairly: each with the others tuned anew for it.

        An optimizer is not better because the learning rate at hand suits it. So for each value of `field` (all of a table
        of choices, or `values`) the `nuisance` hyperparameters are searched with the same number of `trials` and the same
        seed of the strategy; the best configuration of each is then trained with `seeds` fresh seeds, which the search has not
        seen and so could not favour, and these decide. All of it trains in shared cohorts.
        Returns a handle: `wait()`, `table`, `figure()`. Raises: ConfigError naming the argument.
        """
        blocking = a_flag(blocking, "blocking")
        request = SearchRequest(
            strategy, a_space(nuisance, "nuisance"), a_config(base, "base"), seed=seed,
            trials=None if trials is None else check_count("trials", trials, 1_000_000),
            name=a_text(name, "name"), note=a_text(note, "note"), tags=some_tags(tags), device=self._device(device),
            finals=check_count("seeds", seeds, MAX_SEEDS),
        )  # fmt: skip
        comparison = start_comparison(self._session, request, field, some_values(values))
        return comparison.wait() if blocking else comparison

    def add_seeds(self, top: int = 3, seeds: int = 5, *, device: str | None = None) -> Run:
        """Train `seeds` further seeds of the contenders: of the `top` configurations of the leaderboard, those that cannot be
        told from the best. Returns the run. Raises: RunError when no trial has ended, or none has a score."""
        top = check_count("top", top)
        seeds = check_count("seeds", seeds, MAX_SEEDS)
        board = self._reads.leaderboard(top)
        contenders = board[
            board["tied"] & ~board["trial"].isin(self._session.log.altered())
        ]  # which no seed can repeat
        if contenders.empty:
            message = "there is no ended trial to add seeds to; train one with bench.run(wb.Config())"
            raise nothing_to_choose(self._session, message)
        used = self._reads.seeds_of(list(contenders["configuration"]))
        configs = {}
        for trial, configuration in zip(contenders["trial"], contenders["configuration"], strict=True):
            config = self.config(int(trial))
            free = (seed for seed in range(config.seed, 2**31) if seed not in used[configuration])
            configs[int(trial)] = [prepare(self.task, config.replace(seed=next(free))) for _ in range(seeds)]
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
        """Find a learning rate for a configuration: `points` rates from `low` to `high`, each trained by itself for about `steps`
        steps with `seeds` seeds, as one stacked cohort.

        All else is as in `config`, but for the schedule, which is constant, warm-up and early stopping. Nothing of it is
        entered into the log, and no trial that trains meanwhile is altered: it goes on at the side, on a core of its own.
        Returns a handle at once: `wait()`, `stop()`, awaitable; then `suggestion`, `reason`, `table`, `figure()`,
        `largest_stable`. The validation loss at the end of the runs decides: the suggestion is the middle of the valley of
        rates that are as good as the best. blocking: wait for the end.

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
        """Grow a second trial from where one stood after an epoch (by default its last), with some hyperparameters changed.

        All may change but the architecture; another optimizer starts its state anew, which the log says. The branch's
        epochs count on from its parent's. What no checkpoint holds is trained again first. seeds: so many branches, with
        seeds from the parent's upwards; the parent's seed goes on with its random numbers. script, stop_after: as `changes`
        and `stop_after` of `start`. Returns at once; the very same call while it trains returns its run.
        Raises: LogError, RunError for a trial or epoch that is not there, or a trial in the trash; ConfigError for a change that
        cannot be; ModelError if the backbone of a fine-tuned trial has other weights here; CheckpointError if the checkpoint is
        damaged. Nothing is logged then.
        """
        seeds = check_count("seeds", seeds, MAX_SEEDS)
        return branch(
            self._session, whole("trial", trial), epoch, changes, seeds=seeds, name=a_text(name, "name"),
            note=a_text(note, "note"), tags=some_tags(tags), device=self._device(device), script=live_changes(script),
            stop_after=steps_to_stop(stop_after),
        )  # fmt: skip

    def try_it(self, diagnosis: Diagnosis | int, rule: str | None = None, *, device: str | None = None) -> Run:
        """Start what a diagnosis prescribes: a branch, a new run, or more seeds. The log keeps that it was tried.

        diagnosis: what `diagnose` returned, or a trial's number. rule: the finding to act on, by default the main one. While
        the same prescription is still being tried, its run is returned. `prescriptions()` says what came of it, `rules()`
        how often each rule was right. Returns at once.
        Raises: RunError when there is nothing to try, or the trial is in the trash; ConfigError for an unknown rule, or a change
        that cannot be. Nothing is logged then.
        """
        device = self._device(device)
        judged = diagnosis if isinstance(diagnosis, Diagnosis) else whole("trial", diagnosis)
        return try_it(self._session, judged, a_choice(rule, "rule"), device=device)

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
        """Train a new head, and what is not frozen, on a network that has learned already; returns at once. The very same call
        while it trains returns its run.

        from_trial: a trial of this log, whose best model is gone on from; its head stays if the classes are the very same.
        backbone: in its place a pretrained network, by its registered name or as a function that returns it (see
        `wb.register_backbone`). task: what to learn, by default this Workbench's own task; another one's trials are entered
        into the same log, where `Workbench(task, log=...)` finds them. freeze: the layers that keep their weights and stay in
        evaluation mode, as a number of groups from the input on, as the name of the last of them, "all but the head", or None.
        unfreeze_at: the epoch after which they train as well, with a fresh optimizer. learning_rate_factor: of the group
        nearest the input; between it and the head, which has the learning rate itself, rates grow geometrically.
        config: all other hyperparameters, by default the trial's. seeds: so many heads, with seeds from `config.seed` upwards,
        as one cohort: what frozen layers make of the data is computed once.

        The three hyperparameters belong to the model, which is registered: `bench.search(base=bench.config(run.trials[0]), ...)`
        searches them. Raises: LogError, RunError for a trial that is unknown, unfinished, in the trash or without a
        model at hand;
        ModelError naming the shapes of inputs that do not fit, or if the backbone that the trial itself began from has other
        weights here; TaskError, ConfigError naming the argument, with the groups there are. Nothing is
        logged then.
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
        """Train a trial again from its first step, live changes included, under a number of its own, and compare.

        After `wait()`: `identical`, `within_tolerance`, `differences` (one row an epoch and value), `verdict`. A trial that
        trained alone comes out identical to the last bit on the same machine; one that trained together with others within
        the tolerance that the verdict states. Raises: LogError, RunError for a trial that cannot be replayed, or is in the trash;
        ModelError if the backbone of a fine-tuned trial has other weights here.
        """
        return replay(self._session, whole("trial", trial), device=None if device is None else check_device(device))

    def resume(self) -> Runs:
        """Go on with the runs and searches that a killed kernel left behind, from their last checkpoints to the same end.

        Returns a handle of all of them (`wait()`, `pause()`, `stop()`; empty if there is nothing). Trials that another
        living kernel trains are never touched. Raises: ConfigError naming a model, loss, optimizer or schedule of your own
        that is not registered; nothing is changed then.
        """
        return resume(self._session, resume_search)

    def delete(self, *trials: int) -> None:
        """Move trials to the trash: they are gone from every table and chart, and `restore` brings them back.

        Raises: LogError for one that is unknown, in the trash already, or still training; nothing is changed then.
        """
        numbers = trial_numbers("delete", trials)
        self._session.log.delete(numbers)
        self._session.forget(numbers)

    def restore(self, *trials: int) -> list[int]:
        """Bring deleted trials back, all of them by default; returns their numbers. Raises: LogError for one not in the trash."""
        restored = self._session.log.restore(trial_numbers("restore", trials) or None)
        self._session.publish([LogChanged(restored=tuple(restored))])
        return restored

    def empty_trash(self) -> tuple[list[int], list[int]]:
        """Remove the deleted trials for good, with their checkpoints. Returns the numbers removed, and those kept because a
        trial outside the trash was made from them."""
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
        """Let several trials' best models vote, of whatever architectures, and enter the ensemble into the log.

        Classes: the mean of their probabilities; numbers: the mean of their answers. By default the best trial of each of the
        `top` best configurations of the leaderboard votes. select="greedy": `size` votes are given one by one to the
        trial that helps
        the validation metric most, with replacement, beginning with the best ones (Caruana et al. 2004); from the `candidates`
        best trials that ran to their end. trials: who votes, in place of the leaderboard's top, or, with "greedy", who may; a
        trial that is named twice has two votes.

        A choice made on the validation rows flatters the score on them. The result says by how much: `optimism`, `corrected`
        and `interval`, by an out-of-bag bootstrap in which the choice among the `candidates` is made again; it also says whether
        the ensemble beats a best single trial chosen alike. It predicts like `bench.model(trial)`, stands in the leaderboard
        by its score on the validation rows, with `corrected` beside it, and `bench.save` keeps it in one file. The same once
        more, as by a cell that is run again, has the same number. A model that is neither at hand nor in a checkpoint is
        trained again first, in silence.
        Raises: ConfigError naming the argument; LogError, RunError for a trial that is unknown, in the trash, on another task,
        unfinished, diverged or without a finite epoch, or when no trial has ended; nothing is logged then.
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

    def open_test_set(self, trial: int | Ensemble, *, again: bool = False, only_unseen: bool = False) -> TestResult:
        """Measure a trial's best model, or an ensemble, on the sealed test split: once, at the very end.

        The log keeps who looked, when, at which rows and what came of it; the result is told with a 95% interval (exact for
        accuracy, else bootstrapped), the optimism (validation minus test) and the number of trials that looked at the
        validation split. Rows that were looked at before, be it in another kernel, under another preprocessing or division of
        the data, need again=True, and the result is stamped "reused (n)" wherever it is shown. only_unseen: measure on those
        test rows alone that nobody has looked at, as a new version of the data brings them; the result says on how many of the
        split's, the log keeps that these were looked at, and the stamp is "opened once".
        Raises: TaskError if the task has no test split; SealError, with the earlier opening, if it was opened before, or no row
        is unseen; RunError, LogError for a trial that is unknown, unfinished, in the trash or without a model; ModelError if the
        backbone of a fine-tuned trial has other weights here, or the metric is not defined on the rows; ConfigError for `again`
        or `only_unseen` that is neither True nor False, or both. Nothing is opened then.
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
    ) -> Continuation:
        """Go on with more or newer data: a new version of the task, on which the best configurations are measured
        and trained anew.

        new_data: all rows of the new version, old and new (of a table `pd.concat([old, new])`), of the kind the task was made
        from: a DataFrame or the path of a CSV file with the same columns, a pair (X, y), a torch data set; or what
        `task.version(new_data)` made of them. Rows that were there before keep the split they were in, so that no test row is
        ever trained on. Old rows that are not in it are left out, and a UserWarning says how many.
        Of the `top` configurations of the leaderboard the best trial's model is measured on the new version's
        validation rows, with
        its old preprocessing, and the configuration is trained anew with so many `seeds` (from its first step, without the live
        changes it had), in the same log. Returns a handle at once: `wait()`, `task`, `bench` (a Workbench on the new version),
        `table` (the change for each configuration and whether it is beyond noise), `drift` (which columns moved, by which test),
        `figure()`, `drift_figure()`. The log keeps all of it: `bench.versions`, `bench.version_changes`. The very same call
        while it goes on returns the same handle.
        Raises: TaskError for other columns, types, shapes or classes, rows without a target, or no new row; RunError if no
        trial has run to its end; ConfigError, ModelError for a configuration that the new version cannot take.
        Nothing is changed then.
        """
        blocking = a_flag(blocking, "blocking")
        top = check_count("top", top)
        seeds = check_count("seeds", seeds, MAX_SEEDS)
        device, name, note = self._device(device), a_text(name, "name"), a_text(note, "note")
        found = continue_on(self._session, new_data, top=top, seeds=seeds, name=name, note=note, device=device)
        if not hasattr(found, "bench"):
            found.bench = Workbench._of(found.session, self.device)
        return found.wait() if blocking else found

    def _device(self, device: object) -> str:
        """The device that a call was given, this Workbench's for None. Raises: ConfigError."""
        return check_device(self.device if device is None else device)

    @classmethod
    def _of(cls, session: Session, device: str) -> Workbench:
        """A Workbench on a session that is there."""
        bench = cls.__new__(cls)
        bench.task, bench.device, bench._session = session.task, device, session
        bench._presenter, bench._reads = Presenter.of(session), Reads.of(session)
        return bench

    def annotate(
        self, trial: int, *, name: str | None = None, note: str | None = None, tags: Sequence[str] | None = None
    ) -> None:
        """Name a trial, write a note to it or tag it; what is left out stays."""
        given = {"name": name, "note": note}
        texts = {field: a_text(value, field) for field, value in given.items() if value is not None}
        kept = None if tags is None else some_tags(tags)
        self._session.log.annotate(whole("trial", trial), **texts, tags=kept)
        self._session.publish([LogChanged()])

    # --- reading: nothing here writes, or trains on record ------------------------------------------------------------

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
        return self._reads.leaderboard_with_configurations(top)

    def importance(self, search: int | None = None, *, evaluator: str = "fanova") -> pd.DataFrame:
        """Share of the variation of the validation metric that each hyperparameter explains, largest first.

        search: only the trials of one search, by default all on this task; comparisons across other configurations mix effects.
        evaluator: "fanova" or "ped_anova" (optuna's). The column `trials` says how many trials it rests on; below 10 for
        each hyperparameter a UserWarning says that it is a hint only. Raises: RunError with fewer than 4 trials.
        """
        from workbench.methods.comparison.importance import importance

        frame = self._reads.trials_of(self._search(search))
        return importance(frame, better=self._reads.better, evaluator=a_text(evaluator, "evaluator"))

    def range_edges(self, search: int | None = None) -> pd.DataFrame:
        """The searched ranges at whose end the best trials lie, so that a better value may lie beyond.

        search: its number, by default the last one. One row a range: hyperparameter, side, best, low, high, and wider_low,
        wider_high: the range to search next.
        """
        found = self._reads.range_edges(self._search(search))
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
        return self._reads.plot(
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
        return self._reads.complexity()

    def suggest_patience(self) -> PatienceAdvice:
        """How many epochs to wait for a lower validation loss before stopping early, learned from this task's trials.

        Early stopping is played on the curves of all trials that ran to their last epoch without it, with every patience.
        `suggestion` is the smallest one with which 95% of the trials come within the noise of their best (the spread over
        seeds if there are replicates, else the jumps from epoch to epoch); None if none saves epochs at that price.
        `reason` says it in words, with exact and bootstrap intervals, `table` has a row for each patience, `figure()` draws
        it. Raises: RunError with fewer than 5 trials.
        """
        reads = self._reads
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
        return self._session.recall.model(whole("trial", trial), epoch)

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
        return self._reads.ensembles()

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
        shown = [[trial] for trial in trial_numbers("figure", trials)] or self._reads.seeds_together(
            self._presenter.last_trials()
        )
        if not shown:
            raise RunError("there is no trial to draw yet; train one with bench.run(wb.Config())")
        return self._reads.figure(shown)

    @property
    def selected(self) -> list[int]:
        """The trials whose rows are selected in the table."""
        return list(self._presenter.selected)

    @property
    def active(self) -> list[Run]:
        """The run that trains now and those that wait for it."""
        return self._session.runner.runs

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the log, as it is now, to a new SQLite file; trials may train meanwhile. Checkpoints are not copied.

        path: of the copy. Raises: ConfigError for what is no path; LogError if the file exists or cannot be written, or the log
        is on a PostgreSQL server.
        """
        place = a_place(path, "path", "")
        if place is None:
            raise ConfigError([Problem("path", path, "path=None: give the path of a new file")])
        self._session.log.backup(place)

    # --- display ----------------------------------------------------------------------------------------------------

    @property
    def presenter(self) -> Presenter:
        """What shows this Workbench: `presenter.view`, once it was displayed, and `presenter.session` with the runner."""
        return self._presenter

    def _ipython_display_(self) -> None:
        self._presenter.show(self, TABS)

    def __repr__(self) -> str:
        return f"<Workbench on {self.task.name!r}, log {self._session.log.url}: {self._reads.summary()}>"
