"""`Workbench`: the only place where task, engine, log and views are wired together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.errors import ConfigError, Problem, RunError, did_you_mean
from workbench.execution import Run, Search
from workbench.figures import NotebookFigure
from workbench.hyperparameters import Config
from workbench.log import TrialLog
from workbench.registration import register_model
from workbench.search import DEFAULTS
from workbench.searching import Comparison, SearchRequest, continued, start_comparison, start_search
from workbench.session import Session, available_devices
from workbench.training import prepare

if TYPE_CHECKING:
    from workbench.domains import Domain
    from workbench.tasks import Task
    from workbench.widgets.compare_panel import Look

__all__ = ["Workbench"]

MAX_SEEDS = 1000


class Workbench:
    """Tune one task's model by hand and by search; display it as a cell's last value.

    task: what to learn. log: where every attempt is kept: a path, an SQLAlchemy URL, or None (in memory).
    models: builders of your own by name, `build(task, *, width=wb.IntRange(8, 256)) -> nn.Module`.
    device: where new trials train unless told otherwise ("cpu", "cuda", "cuda:1", "mps").

    A Workbench made while another one trains on the same log and task (a cell that is run again) attaches to the training
    that goes on; it starts nothing twice. Raises: LogError if the log cannot be opened.
    """

    def __init__(
        self,
        task: Task,
        log: str | os.PathLike[str] | None = None,
        *,
        models: Mapping[str, Callable[..., Any]] | None = None,
        device: str = "cpu",
    ) -> None:
        for name, build in (models or {}).items():
            register_model(name, build)
        self.task = task
        self.device = device
        self._session = Session.of(task, log)

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
    ) -> Run:
        """Train one setting in the background and return at once.

        seeds: train this many replicates, with seeds from `config.seed` upwards, as one cohort. name, note, tags: for the
        log. While the very same call is still running (a cell that was run again), its run is returned instead of a second.
        Raises: ConfigError naming the field; ModelError if the model cannot be built; nothing is logged then.
        """
        config = prepare(self.task, config or Config())
        _check_count("seeds", seeds, MAX_SEEDS)
        device = _check_device(device or self.device)
        configs = [config.replace(seed=config.seed + i) for i in range(seeds)]
        return self._session.start(configs, name=name, note=note, tags=tags, device=device)

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
        hyperparameter searched: `wb.Range`, `wb.LogRange`, `wb.IntRange`, `wb.Choice` or a list. base: the setting of all
        others. Strategies that learn know every earlier trial on this task that lies in the space and agrees with `base`
        in what is not searched, manual ones included.

        Budget: no new setting is started after `trials` settings, after `seconds`, or after `no_improvement` settings
        in a row without a better one; 64 settings (or the whole grid) when none is given. pruner: "median", "halving",
        "hyperband", "patience" or an optuna pruner. seeds: replicates of each setting, trained together and told to the
        strategy as their mean. seed: of the strategy: the same seed gives the same settings (with `cohort` given too,
        the same results to the last bit). points: values a grid takes of a range. cohort: trials that train together;
        by default from memory and a short measurement. continues: an earlier search to go on with; what is not given
        anew stays. blocking: wait for the end, as `search(...).wait()`.

        Raises: ConfigError naming the argument or hyperparameter; nothing is logged then.
        """
        given: dict[str, Any] = {
            "strategy": strategy, "space": space, "base": base, "trials": trials, "seconds": seconds,
            "no_improvement": no_improvement, "pruner": pruner, "seeds": seeds, "seed": seed, "points": points,
            "cohort": cohort, "name": name, "note": note, "tags": tuple(tags),
            "device": _check_device(device or self.device),
        }  # fmt: skip
        if continues is not None:
            defaults = {**DEFAULTS, "space": None, "base": None}
            anew = {name: value for name, value in given.items() if name not in defaults or value != defaults[name]}
            given = continued(self._session, continues if isinstance(continues, int) else continues.number, anew)
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
        seed of the strategy; the best setting of each is then trained with `seeds` fresh seeds, which the search has not
        seen and so could not favour, and these decide. All of it trains in shared cohorts.
        Returns a handle: `wait()`, `table`, `figure()`. Raises: ConfigError naming the argument.
        """
        request = SearchRequest(
            strategy, nuisance, base or Config(), trials=trials, seed=seed, name=name, note=note, tags=tuple(tags),
            device=_check_device(device or self.device),
        )  # fmt: skip
        comparison = start_comparison(self._session, request, field, values, seeds)
        return comparison.wait() if blocking else comparison

    def add_seeds(self, top: int = 3, seeds: int = 5, *, device: str | None = None) -> Run:
        """Train `seeds` further seeds of the contenders: of the `top` settings of the leaderboard, those that cannot be
        told from the best. Returns the run. Raises: RunError when there is no ended trial."""
        _check_count("top", top)
        _check_count("seeds", seeds, MAX_SEEDS)
        board = self._session.reads.leaderboard(top)
        contenders = board[board["tied"]]
        if contenders.empty:
            raise RunError("there is no ended trial to add seeds to; train one with bench.run(wb.Config())")
        used = self._session.reads.seeds_of(list(contenders["setting"]))
        configs = {}
        for trial, setting in zip(contenders["trial"], contenders["setting"], strict=True):
            config = self.config(int(trial))
            free = (seed for seed in range(config.seed, 2**31) if seed not in used[setting])
            configs[int(trial)] = [prepare(self.task, config.replace(seed=next(free))) for _ in range(seeds)]
        return self._session.replicate(configs, device=_check_device(device or self.device))

    # --- reading ----------------------------------------------------------------------------------------------------

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

        One row a setting: rank, trial (its first), seeds, mean, low and high (95% confidence interval of the mean by
        Student's t, NaN for one seed), p_value and tied: whether it cannot be told from the best at 5% by Welch's two-sided
        t-test. Where a setting has one seed, its variance is taken as the pooled variance of those with more; nothing is
        told apart while no setting has two. Then the hyperparameters in which the settings differ. top: rows, None for all.
        """
        return self._session.reads.leaderboard_with_settings(top)

    def importance(self, search: int | None = None, *, evaluator: str = "fanova") -> pd.DataFrame:
        """Share of the variation of the validation metric that each hyperparameter explains, largest first.

        search: only the trials of one search, by default all on this task; comparisons across other settings mix effects.
        evaluator: "fanova" or "ped_anova" (optuna's). The column `trials` says how many trials it rests on; below 10 for
        each hyperparameter a UserWarning says that it is a hint only. Raises: RunError with fewer than 4 trials.
        """
        from workbench.analysis import importance

        return importance(self._session.reads.trials_of(search), better=self._session.reads.better, evaluator=evaluator)

    def border(self, search: int | None = None) -> pd.DataFrame:
        """The searched ranges at whose end the best trials lie, so that a better value may lie beyond.

        search: its number, by default the last one. One row a range: hyperparameter, side, best, low, high, and wider_low,
        wider_high: the range to search next.
        """
        found = self._session.reads.border(search)
        columns = ["hyperparameter", "side", "best", "low", "high", "wider_low", "wider_high"]
        rows = [(b.name, b.side, b.best, b.domain.low, b.domain.high, b.wider.low, b.wider.high) for b in found]
        return pd.DataFrame(rows, columns=columns)

    def plot(
        self, kind: str = "parallel", *names: str, search: int | None = None, trials: Sequence[int] | None = None
    ) -> NotebookFigure:
        """A matplotlib figure over many trials: "parallel" coordinates, "scatter" of two hyperparameters, "slices",
        "importance".

        names: the hyperparameters, by default those that vary. search, trials: which trials, by default all on this task.
        Raises: ConfigError for an unknown kind or name; RunError when there is nothing to draw.
        """
        return self._session.reads.plot(kind, names, search, trials)

    def curves(self, *trials: int) -> pd.DataFrame:
        """Learning curves, one row an epoch, of the given trials or of all."""
        return self._session.log.curves(*trials)

    def events(self, *trials: int) -> pd.DataFrame:
        """What happened beside the epochs: live changes, pauses, remarks."""
        return self._session.log.events(*trials)

    def config(self, trial: int) -> Config:
        """The Config a trial started with. Raises: LogError for an unknown trial."""
        return Config(**self._session.log.config(trial))

    def code(self, trial: int) -> str:
        """The Python call that starts this trial again."""
        return f"run = bench.start({self.config(trial)!r})"

    def annotate(
        self, trial: int, *, name: str | None = None, note: str | None = None, tags: Sequence[str] | None = None
    ) -> None:
        """Name a trial, write a note to it or tag it; what is left out stays."""
        self._session.log.annotate(trial, name=name, note=note, tags=tags)
        self._session.refresh_table()

    def figure(self, *trials: int) -> NotebookFigure:
        """Learning curves as a matplotlib figure, of the given trials or of the last run. Raises: RunError without any."""
        shown = [[trial] for trial in trials] or self._session.reads.seeds_together(self._session.last_trials())
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

    # --- display ----------------------------------------------------------------------------------------------------

    def _ipython_display_(self) -> None:
        self._session.show(self, _Actions(self))

    def __repr__(self) -> str:
        return f"<Workbench on {self.task.name!r}, log {self._session.log.url}: {self._session.reads.summary()}>"


class _Actions:
    """What the view may ask for. Called from widget callbacks on any thread: each call enqueues and returns."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._session = bench._session

    def start(self, config: Config, *, seeds: int, name: str, device: str) -> None:
        self._bench.start(config, seeds=seeds, name=name, device=device)

    def search(
        self, space: dict[str, Domain], base: Config, *, name: str, device: str, options: dict[str, Any]
    ) -> None:
        if not space and "continues" not in options:
            message = "press the magnifier beside a hyperparameter to search it"
            raise ConfigError([Problem("space", space, f"there is nothing to search: {message}")])
        self._bench.search(space=space or None, base=base, name=name, device=device, **options)

    def add_seeds(self, top: int, seeds: int) -> None:
        self._bench.add_seeds(top, seeds)

    def look(self, look: Look) -> None:
        self._session.look(look)

    def pause(self) -> None:
        self._current().pause()

    def resume(self) -> None:
        self._current().resume()

    def stop(self) -> None:
        self._current().stop()

    def set(self, name: str, value: float) -> None:
        run = self._session.runner.current
        if run is not None and not run.done:
            run.set(None, **{name: value})

    def select(self, trials: list[int]) -> None:
        self._session.select(trials)

    def annotate(self, trial: int, *, name: str | None, note: str | None, tags: list[str] | None) -> None:
        self._bench.annotate(trial, name=name, note=note, tags=tags)

    def _current(self) -> Run:
        run = self._session.runner.current
        if run is None:
            raise RunError("nothing is training; press Train first")
        return run


def _check_count(name: str, value: object, most: int = 10_000) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigError([Problem(name, value, f"{name}={value!r}: must be a whole number from 1 to {most}")])


def _check_device(device: str) -> str:
    """Raises: ConfigError unless torch can use the device on this machine."""
    known = available_devices()
    if device in known or (device == "cuda" and any(name.startswith("cuda") for name in known)):
        return device
    message = f"device={device!r}: this machine has {', '.join(known)}{did_you_mean(device, known)}"
    raise ConfigError([Problem("device", device, message)])
