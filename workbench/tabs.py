"""What the tabs under the charts show: read anew while a tab is in front, and only then."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.analysis import varied
from workbench.errors import WorkbenchError
from workbench.execution import Aside
from workbench.figures import opened_scores
from workbench.hyperparameters import Config
from workbench.reads import TABLE_TRIALS, Reads
from workbench.registry import METRICS
from workbench.watching import Watcher
from workbench.widgets.compare_panel import Look

if TYPE_CHECKING:
    from workbench.execution import Run
    from workbench.widgets.view import WorkbenchView

__all__ = ["Tabs"]

JUDGED_SECONDS = 4.0
"""A trial that trains is judged anew at most this often."""
SOURCES = 5
"""Of each task, so many of its best trials are offered to start a fine-tuning from."""


class Tabs:
    """Brings the tab in front up to date: `tick` and `refresh`, on the main thread. What a click asks for may come on any thread.

    bench: whose public calls are read. drawn: the trials in the charts. trial_in_view: the one that is looked at. run_of: the run
    of a trial that was started here. wake: called when there is something to show.
    """

    def __init__(
        self,
        view: WorkbenchView,
        bench: Any,
        reads: Reads,
        *,
        drawn: Callable[[], Collection[int]],
        trial_in_view: Callable[[], int | None],
        run_of: Callable[[int], Run | None],
        wake: Callable[[], None],
    ) -> None:
        self._view, self._bench, self._reads = view, bench, reads
        self._drawn, self._trial_in_view, self._run_of, self._wake = drawn, trial_in_view, run_of, wake
        self.aside = Aside(wake)
        self.look = Look()
        self._watcher: Watcher | None = None
        self._test: Any = None  # the range test under way, as `bench.lr_range_test` returned it
        self._judged: tuple[Any, ...] | None = None
        self._judged_at = 0.0

    def tick(self) -> None:
        """What goes on between two readings: results that were waited for, a range test, the layers of what trains."""
        self.aside.deliver()
        self._show_test()
        if self._view.in_front == "Layers" or self._watcher is not None:
            self._eye.tick(self._trial_in_view(), in_front=self._view.in_front == "Layers")

    def refresh(self) -> None:
        """Read the tab in front anew."""
        show = {
            "History": self._history,
            "Search": self._search,
            "Compare": self._compare,
            "Diagnose": self._diagnose,
            "Transfer": self._transfer,
            "Test set": self._seal,
            "Code": self._view.show_script,
        }.get(self._view.in_front)
        if show is not None:
            show()

    def look_inside(self, epoch: int | None) -> None:
        """Show the layers after an epoch, None for the best one."""
        self._eye.look(epoch)

    def open_test_set(self, key: tuple[str, int], again: bool) -> None:
        """Measure ("trial", 7) or ("ensemble", 2) on the test split, and show what came of it."""
        kind, number = key
        bench, tab = self._bench, self._view.seal.part

        def work() -> list[str]:
            what = number if kind == "trial" else bench.load_ensemble(number)
            return list(bench.open_test_set(what, again=again).says)

        def then(lines: list[str] | None, error: Exception | None) -> None:
            if lines is None:
                tab.show_problem(str(error))
            else:
                tab.show_result(lines)
            self._seal()

        self.aside.ask("test-set", work, then)

    def ensemble(self, size: int, select: str | None) -> None:
        """Make an ensemble of the best settings, or of so many votes, and show it in the leaderboard."""
        bench, panel = self._bench, self._view.compare
        options = {"top": size} if select is None else {"select": select, "size": size}
        panel.tell("Measuring the members and their optimism …")

        def then(made: Any, error: Exception | None) -> None:
            self._compare()
            panel.tell(str(error) if error is not None else " ".join([f"Ensemble {made.number}:", *made.says]))

        self.aside.ask("ensemble", lambda: bench.ensemble(**options), then)

    def range_test(self, config: Config, device: str) -> None:
        """Find a learning rate for a setting, beside whatever trains."""
        if self._test is None:
            self._test = self._bench.lr_range_test(config, device=device)
            self._view.range.part.show_running(0.0)

    def stop_range_test(self) -> None:
        """End the range test under way with what it has."""
        if self._test is not None:
            self._test.stop()

    def _show_test(self) -> None:
        test = self._test
        if test is None:
            return
        panel = self._view.range.part
        if not test.done:
            panel.show_running(round(test.progress, 2))
            return
        self._test = None

        def then(png: bytes | None, error: Exception | None) -> None:
            if png is None:
                panel.show_problem(str(error))
            else:
                panel.show(test.suggestion, test.reason, png)

        self.aside.ask("range-test", lambda: test.figure()._repr_png_(), then)

    def try_it(self, trial: int, rule: str) -> None:
        """Start what a rule prescribes; the trial is judged anew first, so that it is what stands there."""
        bench, panel = self._bench, self._view.diagnosis.part
        panel.busy("Starting what is prescribed …")

        def then(run: Any, error: Exception | None) -> None:
            self._judged = None
            if error is not None:
                panel.show_problem(str(error))

        self.aside.ask("try-it", lambda: bench.try_it(trial, rule), then)

    def finetune(self, trial: int, config: Config, options: dict[str, Any]) -> None:
        """Fine-tune a trial with the setting in the controls; its weights may have to be trained again first."""
        bench, panel = self._bench, self._view.transfer.part

        def then(run: Any, error: Exception | None) -> None:
            if error is not None:
                panel.show_problem(str(error))

        self.aside.ask("finetune", lambda: bench.finetune(from_trial=trial, config=config, **options), then)

    # --- one tab each -----------------------------------------------------------------------------------------------

    @property
    def _eye(self) -> Watcher:
        if self._watcher is None:
            self._watcher = Watcher(
                self._reads.task,
                self._view.layers.part,
                run_of=self._run_of,
                model_of=self._bench.model,
                epochs_of=self._epochs_of,
                wake=self._wake,
            )
        return self._watcher

    def _epochs_of(self, trial: int) -> tuple[int, int]:
        curve = self._reads.log.curves(trial)
        return int(curve["epoch"].iloc[0]), int(curve["epoch"].iloc[-1])

    def _history(self) -> None:
        try:
            self._view.history.refresh(self._drawn())
        except WorkbenchError as error:
            self._view.show_error(error)

    def _search(self) -> None:
        _ = self._view.range.part  # made at the first look
        self._offer(self._reads.trials(last=TABLE_TRIALS))

    def _offer(self, frame: pd.DataFrame) -> None:
        """Tell the tabs which searches and hyperparameters there are."""
        searches = self._reads.log.searches()
        if len(searches):
            searches = searches[searches["task_fingerprint"] == self._reads.task.fingerprint]
        labels = [
            (f"search {row.search} ({row.strategy})", int(row.search), pd.isna(row.continues), row.space is not None)
            for row in searches.itertuples(index=False)
        ]
        self._view.search.offer([(label, number) for label, number, _, own in labels if own])
        self._view.compare.offer([(label, number) for label, number, first, _ in labels if first], varied(frame))

    def _compare(self) -> None:
        self._offer(self._reads.trials(last=TABLE_TRIALS))
        panel, look, reads = self._view.compare, self.look, self._reads
        try:
            panel.show_borders(reads.border(None))
            if look.kind == "leaderboard":
                panel.show_leaderboard(reads.leaderboard_with_settings(20), reads.metric_label)
            elif look.kind == "patience":
                advice = self._bench.suggest_patience()
                panel.show_patience(advice._repr_png_(), advice.text, advice.suggestion)
            elif look.kind == "parallel":
                frame = reads.trials_of(look.search, last=None if look.search else TABLE_TRIALS)
                panel.show_parallel(frame, varied(frame), metric_label=reads.metric_label, better=reads.better)
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # the figure says it
                    names = (look.x, look.y) if look.kind == "scatter" and look.x and look.y else ()
                    panel.show_picture(reads.plot(look.kind, names, look.search, None)._repr_png_())
        except WorkbenchError as error:
            panel.show_problem(str(error))

    def _diagnose(self) -> None:
        """Judge the trial in view, if anything has happened to it, or to a prescription, since the last time."""
        trial, panel, bench = self._trial_in_view(), self._view.diagnosis.part, self._bench
        if trial is None:
            self._judged = None
            panel.show_problem()
            return
        run = self._run_of(trial)
        going = run is not None and not run.done
        now = time.monotonic()
        log, task = self._reads.log, self._reads.task
        state = (trial, going, log.count(task.fingerprint), len(log.scores(task.fingerprint, task.metric)))
        fresh = state == self._judged and not (going and now - self._judged_at > JUDGED_SECONDS)
        if fresh or self.aside.busy("diagnosis"):
            return
        if self._judged is None or self._judged[0] != trial:
            panel.busy(f"Looking at trial {trial} …")

        def work() -> tuple[Any, bytes]:
            found = bench.diagnose(trial)
            return found, found.figure()._repr_png_()

        def then(found: Any, error: Exception | None) -> None:
            self._judged, self._judged_at = state, time.monotonic()
            if error is not None:
                panel.show_problem(str(error))
            else:
                panel.show(*found)

        self.aside.ask("diagnosis", work, then)

    def _transfer(self) -> None:
        reads = self._reads
        frame = reads.log.trials()
        ended = frame["state"].isin(["completed", "early_stopped", "stopped"]) & frame["best_val_metric"].notna()
        sources = []
        for fingerprint, group in frame[ended & (frame["source"] != "replay")].groupby("task_fingerprint", sort=False):
            own = fingerprint == reads.task.fingerprint
            lower = (
                METRICS[group["metric"].iloc[0]].value.better == "lower"
                if group["metric"].iloc[0] in METRICS
                else False
            )
            best = group.sort_values("best_val_metric", ascending=lower).head(SOURCES)
            for row in best.itertuples(index=False):
                where = "" if own else f" on {row.task}"
                sources.append(
                    (not own, f"trial {row.trial}{where} ({row.metric} {row.best_val_metric:.3f})", int(row.trial))
                )
        self._view.transfer.part.show([(label, trial) for _, label, trial in sorted(sources, key=lambda one: one[0])])
        bench, label = self._bench, reads.metric_label.removeprefix("validation ")
        self._view.versions.part.show(bench.versions, bench.version_changes, bench.drift, metric_label=label)

    def _seal(self) -> None:
        reads, tab = self._reads, self._view.seal.part
        board = reads.leaderboard(5)
        best = [int(trial) for trial in board["trial"]]
        chosen = self._trial_in_view()
        trials = [trial for trial in dict.fromkeys([*best[:1], chosen, *best]) if trial is not None]
        choices = [(f"trial {trial}" + ", the best" * (trial in best[:1]), ("trial", trial)) for trial in trials]
        choices += [(f"ensemble {number}", ("ensemble", int(number))) for number in reads.ensembles()["ensemble"]]
        label = reads.metric_label.removeprefix("validation ")
        tab.refresh(
            self._bench.openings, choices, rows=reads.task.sizes["test"], looked=reads.log.looked(reads.task.fingerprint),
            metric_label=label, metric=reads.task.metric,
            draw=lambda frame: opened_scores(frame, metric_label=f"{label}, test rows")._repr_png_(),
        )  # fmt: skip
