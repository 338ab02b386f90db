"""The user interface as one widget: controls, run panel, live charts, trial table and code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import pandas as pd

from workbench.core.config import Config
from workbench.core.errors import ConfigError, WorkbenchError
from workbench.core.space import Space
from workbench.methods.comparison.range_edges import RangeEdge
from workbench.methods.comparison.tab import ComparePanel, Look
from workbench.methods.data_versions.tab import VersionsPanel, transfer_calls
from workbench.methods.diagnosis.tab import DiagnosisPanel
from workbench.methods.finetuning.tab import TransferPanel
from workbench.methods.layers.tab import LayersPanel
from workbench.methods.range_test.panel import RangePanel
from workbench.methods.search.tab import SearchPanel, search_call
from workbench.methods.test_set.tab import SealTab
from workbench.ui.actions import Actions
from workbench.ui.branch_bar import BranchBar, Pick, branch_call
from workbench.ui.code_tab import CodeTab, call
from workbench.ui.controls import Controls
from workbench.ui.curves import LiveCurves
from workbench.ui.facts import Facts, TaskFacts
from workbench.ui.history_tab import HistoryTab, Past
from workbench.ui.late import Late
from workbench.ui.parts import make
from workbench.ui.run_panel import RunPanel, Status
from workbench.ui.style import STYLE
from workbench.ui.trial_table import TrialTable

__all__ = ["WorkbenchView"]

TITLES = ("Trials", "History", "Search", "Compare", "Diagnose", "Layers", "Transfer", "Test set", "Code", "Data")


class WorkbenchView:
    """Reads and asks; knows nothing of threads, training or the log.

    curves: the live charts. config_of: a trial's Config, for "Load into controls". code_of: the script that does a trial
    again. past: what the history tab reads. settle: calls a function after the messages before it were handled
    (`Pump.settle`). `widget` is what is displayed.
    """

    def __init__(
        self,
        task: TaskFacts,
        actions: Actions,
        curves: LiveCurves,
        *,
        config_of: Callable[[int], Config],
        code_of: Callable[[int], str],
        past: Past,
        settle: Callable[[Callable[[], None]], None],
        devices: list[str],
        device: str = "cpu",
    ) -> None:
        self._actions, self._config_of, self._settle = actions, config_of, settle
        self._code_of, self._curves = code_of, curves
        self._going = False
        self.code = CodeTab()
        self.bar = BranchBar(self._branch, self.close_bar)
        self.panel = RunPanel(devices, self.bar, self._resume_left)
        curves.on_pick(self._guarded(lambda trial, epoch: actions.pick(trial, int(epoch))))
        if device in devices:
            self.panel.device.value = device
        self.search = SearchPanel(self._refresh_code)
        self.compare = Late(
            lambda: ComparePanel(
                self._guarded(actions.look),
                self._guarded(self._select_brushed),
                self._guarded(actions.add_seeds),
                self._widen,
                self._guarded(actions.ensemble),
                lambda patience: self.put({"patience": patience}),
            )
        )
        self.controls = Controls(task.kind, changed=self._refresh_code, live=self._set_live)
        self.table = TrialTable(
            self._guarded(actions.select),
            load=self._load_trial,
            branch=self._guarded(actions.pick),
            replay=self._guarded(self._replay),
            annotate=self._guarded(self._write_annotation),
            delete=self._guarded(self._delete),
            restore=self._guarded(actions.restore),
        )
        curves.keep(self.table.table)
        self.history = HistoryTab(
            past,
            select=self._guarded(lambda trial: self._select_brushed([trial])),
            set_budget=actions.set_budget,
            restore=actions.restore,
            empty=actions.empty_trash,
        )
        self.range = Late(
            lambda: RangePanel(
                self._range_test, lambda rate: self.put({"learning_rate": rate}), self._guarded(actions.stop_range_test)
            )
        )
        self.diagnosis = Late(lambda: DiagnosisPanel(self._guarded(actions.try_it)))
        self.transfer = Late(lambda: TransferPanel(self._finetune, self._refresh_code, self._look_again))
        table = task.schema.columns is not None
        self.versions = Late(
            lambda: VersionsPanel(self._continue_on, actions.stop_continuing, self._refresh_code, table=table)
        )
        self.layers = Late(lambda: LayersPanel(actions.look_inside))
        self.seal = Late(lambda: SealTab(self._guarded(actions.open_test_set)))
        self.search.start.on_click(lambda _: self._search())
        self.panel.train.on_click(lambda _: self._train())
        self.panel.pause.on_click(lambda _: self._guarded(actions.resume if self.panel.paused else actions.pause)())
        self.panel.stop.on_click(lambda _: self._guarded(actions.stop)())
        for control in (self.panel.name, self.panel.seeds, self.panel.device):
            control.observe(lambda _: self._refresh_code(), "value")
        side = make(widgets.VBox, [self.controls.widget], classes="wb-side")
        self.tabs = tabs = make(
            widgets.Tab,
            [
                self.table.widget,
                self.history.widget,
                make(widgets.VBox, [self.search.widget, self.range.widget], classes="wb-search"),
                self.compare.widget,
                self.diagnosis.widget,
                self.layers.widget,
                make(widgets.VBox, [self.transfer.widget, self.versions.widget]),
                self.seal.widget,
                self.code.widget,
                Facts(task).widget,
            ],
            classes="wb-tabs",
        )
        tabs.titles = TITLES
        tabs.observe(lambda _: self._look_again(), "selected_index")
        main = make(widgets.VBox, [self.panel.widget, curves, tabs], classes="wb-main")
        body = make(widgets.Box, [side, main], classes="wb-body")
        self.widget = make(widgets.VBox, [make(widgets.HTML, STYLE, hidden=True), body], classes="wb-root")
        self._refresh_code()

    def update(self, status: Status) -> None:
        """Show where the run stands."""
        self._going = status.going
        self.panel.update(status)

    def show_trials(self, frame: pd.DataFrame, count: int | None = None) -> None:
        """Show the log's newest trials, of `count` in all."""
        self.table.update(frame, count)

    def show_error(self, error: Exception) -> None:
        """Show an error next to the controls it names, what belongs to none of them under the buttons."""
        if isinstance(error, ConfigError):
            homeless = self.controls.show(error)
            self.panel.show_error(
                "\n".join(problem.message for problem in homeless) or "Not started: see the marked controls."
            )
        else:
            self.panel.show_error(error)

    def load(self, config: Config) -> None:
        """Put a configuration into the controls."""
        self.controls.load(config)
        self._refresh_code()

    def read(self) -> Config:
        """The configuration in the controls. Raises: ConfigError, shown."""
        return self.controls.read()

    def put(self, values: dict[str, Any]) -> None:
        """Put some values into the controls; the others stay as they are."""
        self._guarded(lambda: self.load(self.controls.read().replace(**values)))()

    def open_bar(self, trial: int, epoch: int, before: Config) -> None:
        """Offer to branch from a point: its configuration goes into the controls. before: the configuration as it was there."""
        self.panel.clear_error()
        self.bar.pick = None  # what is typed from here on counts for the new point
        pick = Pick(trial, epoch, before)
        self.controls.load(pick.config)
        self.bar.pick = pick
        self._curves.picked = (trial, epoch)
        self.panel.open_bar(True)
        self._refresh_code()

    def close_bar(self) -> None:
        """Take the branch bar away; the controls stay as they are."""
        self.bar.pick = None
        self._curves.picked = ()
        self.panel.open_bar(False)
        self.panel.clear_error()
        self._refresh_code()

    def show_script(self) -> None:
        """In the code tab, the script of the one trial that is selected."""
        trials = self.table.selection
        if self.bar.pick is not None or len(trials) != 1:
            self.code.show_script(None)
            return
        try:
            self.code.show_script(trials[0], self._code_of(trials[0]))
        except WorkbenchError as error:
            self.code.show_script(trials[0], error)

    # --- callbacks --------------------------------------------------------------------------------------------------

    def _guarded(self, action: Callable[..., Any]) -> Callable[..., None]:
        """The action with its errors shown: an exception in a callback would only reach a hidden log."""

        def guarded(*arguments: Any) -> None:
            try:
                action(*arguments)
            except Exception as error:
                self.show_error(error)
                if not isinstance(error, WorkbenchError):
                    raise

        return guarded

    def _train(self) -> None:
        self.panel.clear_error()
        panel = self.panel

        def start() -> None:
            config = self.controls.read()
            self._actions.start(config, seeds=panel.seeds.value, **self._about())
            if self.bar.pick is not None:
                self.close_bar()

        self._settle(self._guarded(start))

    def _branch(self) -> None:
        self.panel.clear_error()
        panel = self.panel

        def start() -> None:
            pick = self.bar.pick
            if pick is None:
                return
            changes = pick.changes(self.controls.read())
            self._actions.branch(pick.trial, pick.epoch, changes, seeds=panel.seeds.value, **self._about())
            self.close_bar()

        self._settle(self._guarded(start))

    def _range_test(self) -> None:
        self.panel.clear_error()
        start = self._actions.range_test
        self._settle(self._guarded(lambda: start(self.controls.read(), self.panel.device.value)))

    def _finetune(self) -> None:
        self.panel.clear_error()
        transfer = self.transfer.part

        def start() -> None:
            try:
                options = {**transfer.options(), "seeds": self.panel.seeds.value, **self._about()}
            except ConfigError as error:
                transfer.show_problem(str(error))
            else:
                self._actions.finetune(transfer.source.value, self.controls.read(), options)

        self._settle(self._guarded(start))

    def _continue_on(self) -> None:
        versions = self.versions.part

        def start() -> None:
            self._actions.continue_on(versions.data.value, {**versions.options(), **self._about()})

        self._settle(self._guarded(start))

    def _about(self) -> dict[str, Any]:
        """Name and device in the run panel, as the options of a call."""
        return {"name": self.panel.name.value.strip(), "device": self.panel.device.value}

    def _look_again(self) -> None:
        """Have the tab in front read anew."""
        self._guarded(self._actions.look)(self.compare.part.look if self.compare.made else Look())

    def _replay(self, trial: int) -> None:
        self.panel.clear_error()
        self._actions.replay(trial)

    def _resume_left(self) -> None:
        self.panel.clear_error()
        self._guarded(self._actions.resume_left)()

    def _delete(self, trials: list[int]) -> None:
        self.panel.clear_error()
        self._actions.delete(trials)
        if self.bar.pick is not None and self.bar.pick.trial in trials:
            self.close_bar()
        self.table.tell_deleted(trials)

    def _search(self) -> None:
        self.search.show_error("")

        def start() -> None:
            space, base = self.controls.space(), self.controls.read()
            self._actions.search(space, base, options=self.search.options(), **self._about())

        def guarded() -> None:
            try:
                start()
            except WorkbenchError as error:
                homeless = self.controls.show(error) if isinstance(error, ConfigError) else []
                told = "\n".join(problem.message for problem in homeless) if homeless else str(error)
                self.search.show_error(told)

        self._settle(guarded)

    def _select_brushed(self, trials: list[int]) -> None:
        self.table.select(trials)
        self._actions.select(trials)

    def _widen(self, border: RangeEdge) -> None:
        self.controls.field(border.name).search(border.wider)
        self.tabs.selected_index = self.tabs.titles.index("Search")

    @property
    def in_front(self) -> str:
        """The title of the tab that is shown."""
        return str(self.tabs.titles[self.tabs.selected_index or 0])

    def _set_live(self, name: str, value: float) -> None:
        if self._going and self.bar.pick is None:  # else it is a change of the branch
            self._guarded(self._actions.set)(name, value)

    def _load_trial(self, trial: int) -> None:
        self._guarded(lambda: self.load(self._config_of(trial)))()

    def _write_annotation(self, trial: int, name: str | None, note: str | None, tags: list[str] | None) -> None:
        self._actions.annotate(trial, name=name, note=note, tags=tags)

    def _refresh_code(self) -> None:
        panel = self.panel
        try:
            config = self.controls.read()
        except ConfigError as error:
            self.code.show_problem(error)
            self.bar.tell(None)
            self.search.tell(error, None)
        else:
            about = self._about()
            self.bar.tell(config)
            if self.bar.pick is None:
                calls = [call(config, seeds=panel.seeds.value, **about)]
            else:
                calls = [branch_call(self.bar.pick, config, seeds=panel.seeds.value, **about)]
            try:
                space = self.controls.space()
                self.search.tell(space, config)
                if space:
                    calls.append(search_call(Space(space, config), self.search.options(), **about))
            except ConfigError as error:
                self.search.tell(error, config)
            if self.in_front == "Transfer":
                calls += transfer_calls(self.transfer.part, self.versions.part, config, panel.seeds.value, about)
            self.code.show("\n".join(calls))
