"""What the tabs under the charts show: read anew while a tab is in front, and only then."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.core.errors import WorkbenchError
from workbench.methods.comparison.importance import varied
from workbench.methods.comparison.reads import Reads
from workbench.methods.comparison.tab import Look
from workbench.methods.data_versions.namespace import fitting
from workbench.methods.layers.watch import Watcher
from workbench.methods.test_set.figure import opened_scores
from workbench.ui.clicks import Clicks
from workbench.ui.parts import said
from workbench.ui.task_log import TABLE_TRIALS

if TYPE_CHECKING:
    from workbench.runs.run import Run
    from workbench.ui.view import WorkbenchView

__all__ = ["Tabs"]

JUDGED_SECONDS = 4.0
"""A trial that trains is judged anew at most this often."""
SOURCES = 5
"""Of each task, so many of its best trials are offered to start a fine-tuning from."""


class Tabs:
    """Brings the tab in front up to date. Everything here is for the main thread, but for `clicks.ask` and `look`.

    A click, which may come on any thread, only puts a request into the queue of `clicks`; `tick` takes it from there and does it.

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
        self.clicks = Clicks(view, bench, wake=wake, anew=self._read_anew, look=self._look_inside)
        self._aside = self.clicks.aside
        self.look = Look()
        self._watcher: Watcher | None = None
        self._judged: tuple[Any, ...] | None = None
        self._judged_at = 0.0
        self._behind = False  # whether there was something to judge while another diagnosis went on
        self._grouped: int | None = None  # the trial whose groups of layers are on offer

    def tick(self) -> None:
        """What goes on between two readings: what clicks have asked for and what came of it, the layers of what trains."""
        self.clicks.tick()
        if self._behind and self._view.in_front == "Diagnose" and not self._aside.busy("diagnosis"):
            self._diagnose()
        if self._view.in_front == "Layers" or self._watcher is not None:
            self._eye.tick(self._trial_in_view(), in_front=self._view.in_front == "Layers")

    def refresh(self) -> None:
        """Read the tab in front anew."""
        show = self._readers.get(self._view.in_front)
        if show is not None:
            show()

    @property
    def _readers(self) -> dict[str, Callable[[], None]]:
        return {
            "History": self._history,
            "Search": self._search,
            "Compare": self._compare,
            "Diagnose": self._diagnose,
            "Transfer": self._transfer,
            "Test set": self._seal,
            "Code": self._view.show_script,
        }

    def _read_anew(self, title: str) -> None:
        """Something has changed that a tab shows."""
        if title == "Diagnose":
            self._judged = None  # judged at the next reading
        else:
            self._readers[title]()

    def _look_inside(self, epoch: int | None) -> None:
        """Show the layers after an epoch, None for the best one."""
        self._eye.look(epoch)

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
        self._view.search.offer([(label, number) for label, number, _, own in self._searches() if own])

    def _searches(self) -> list[tuple[str, int, bool, bool]]:
        """Of each search on the task: label, number, whether it continues no other, whether it was asked for here."""
        searches = self._reads.log.searches()
        if len(searches):
            searches = searches[searches["task_fingerprint"] == self._reads.task.fingerprint]
        return [
            (f"search {row.search} ({row.strategy})", int(row.search), pd.isna(row.continues), row.space is not None)
            for row in searches.itertuples(index=False)
        ]

    def _compare(self) -> None:
        panel, look, reads = self._view.compare.part, self.look, self._reads
        searches = [(label, number) for label, number, first, _ in self._searches() if first]
        panel.offer(searches, varied(reads.trials(last=TABLE_TRIALS)))
        try:
            panel.show_edges(reads.range_edges(None))
            if look.kind == "leaderboard":
                left_out = reads.log.cut_off(reads.task.fingerprint, reads.task.metric)
                panel.show_leaderboard(reads.leaderboard_with_configurations(20), reads.metric_label, left_out)
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
        self._behind = not fresh and self._aside.busy("diagnosis")
        if fresh or self._behind:
            return
        if self._judged is None or self._judged[0] != trial:
            panel.busy(f"Looking at trial {trial} …")

        def work() -> tuple[Any, bytes]:
            found = bench.diagnose(trial)
            return found, found.figure()._repr_png_()

        def then(found: Any, error: Exception | None) -> None:
            self._judged, self._judged_at = state, time.monotonic()
            if error is not None:
                panel.show_problem(said(error))
            else:
                panel.show(*found)

        self._aside.ask("diagnosis", work, then)

    def _transfer(self) -> None:
        reads, bench, panel = self._reads, self._bench, self._view.transfer.part
        sources = []
        for row in reads.origins(SOURCES).itertuples(index=False):
            where = "" if row.own else f" on {row.task}"
            sources.append((f"trial {row.trial}{where} ({row.metric} {row.best_val_metric:.3f})", int(row.trial)))
        panel.show(sources)
        self._offer_groups()
        versions, label = self._view.versions.part, reads.metric_label.removeprefix("validation ")
        versions.offer(fitting(self.clicks.variables(), reads.task))
        changes, going = bench.version_changes, self.clicks.continuing
        changes.loc[(changes["version"] == going) & changes["change_low"].isna(), "verdict"] = "in training"
        versions.show(bench.versions, changes, bench.drift, metric_label=label)

    def _offer_groups(self) -> None:
        """Name what can be frozen of the trial that is chosen to start from; its model is built for it, at the side."""
        panel, reads = self._view.transfer.part, self._reads
        trial = panel.source.value
        if trial is None or trial == self._grouped:
            return
        self._grouped = trial

        def then(groups: list[str] | None, error: Exception | None) -> None:
            if panel.source.value == trial:
                panel.offer_groups(groups or [])

        self._aside.ask("groups", lambda: reads.layer_groups(trial), then)

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
            self._bench.openings, choices, rows=reads.task.sizes["test"], unseen=reads.unseen_test_rows(),
            looked=reads.log.looked(reads.task.fingerprint), metric_label=label, metric=reads.task.metric,
            draw=lambda frame: opened_scores(frame, metric_label=f"{label}, test rows")._repr_png_(),
        )  # fmt: skip
