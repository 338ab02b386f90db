"""The user interface as one widget: controls, run panel, live charts, trial table and code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets
import pandas as pd

from workbench.core.config import Config
from workbench.core.domains import Domain
from workbench.core.errors import ConfigError, WorkbenchError
from workbench.ui.actions import Actions
from workbench.ui.branch_bar import BranchBar, Pick, branch_call
from workbench.ui.code_tab import CodeTab, call
from workbench.ui.controls import Controls
from workbench.ui.curves import LiveCurves
from workbench.ui.facts import TaskFacts
from workbench.ui.late import Late
from workbench.ui.parts import make
from workbench.ui.run_panel import RunPanel, Status
from workbench.ui.style import STYLE
from workbench.ui.tab import Tab, TabBody
from workbench.ui.trial_table import TrialTable

__all__ = ["WorkbenchView"]


class WorkbenchView:
    """Reads and asks; knows nothing of threads, training or the log.

    curves: the live charts. config_of: a trial's Config, for "Load into controls". code_of: the script that does a trial
    again. ask: has a request done on the main thread, at the
    next tick and after the messages before it were handled. `widget` is what is displayed; it has no tabs before `add_tabs`.
    """

    def __init__(
        self,
        task: TaskFacts,
        actions: Actions,
        curves: LiveCurves,
        *,
        config_of: Callable[[int], Config],
        code_of: Callable[[int], str],
        ask: Callable[[Callable[[], None]], None],
        devices: list[str],
        device: str = "cpu",
    ) -> None:
        self._actions, self._config_of, self.ask = actions, config_of, ask
        self._code_of, self._curves = code_of, curves
        self._going = False
        self._tabs: tuple[Tab[Any], ...] = ()
        self._bodies: list[Late[TabBody]] = []
        self.code = CodeTab()
        self.bar = BranchBar(self._branch, self.close_bar)
        self.panel = RunPanel(devices, self.bar, self.request(self._resume_left))
        curves.on_pick(self.guarded(lambda trial, epoch: actions.pick(trial, int(epoch))))
        if device in devices:
            self.panel.device.value = device
        self.controls = Controls(task.kind, changed=self.refresh_code, live=self._set_live)
        self.table = TrialTable(
            self.guarded(actions.select),
            load=self.request(self._load_trial),
            branch=self.guarded(actions.pick),
            replay=self.request(self._replay),
            annotate=self.request(self._write_annotation),
            delete=self.request(self._delete),
            restore=self.request(actions.restore),
        )
        curves.keep(self.table.table)
        self.panel.train.on_click(lambda _: self._train())
        self.panel.pause.on_click(lambda _: self.guarded(actions.resume if self.panel.paused else actions.pause)())
        self.panel.stop.on_click(lambda _: self.guarded(actions.stop)())
        for control in (self.panel.name, self.panel.seeds, self.panel.device):
            control.observe(lambda _: self.refresh_code(), "value")
        side = make(widgets.VBox, [self.controls.widget], classes="wb-side")
        self.tabs = make(widgets.Tab, [], classes="wb-tabs")
        self.tabs.observe(lambda _: self.look_again(), "selected_index")
        main = make(widgets.VBox, [self.panel.widget, curves, self.tabs], classes="wb-main")
        body = make(widgets.Box, [side, main], classes="wb-body")
        self.widget = make(widgets.VBox, [make(widgets.HTML, STYLE, hidden=True), body], classes="wb-root")
        self.refresh_code()

    def add_tabs(self, tabs: Sequence[Tab[Any]], build: Callable[[Tab[Any]], TabBody]) -> None:
        """Put the tabs under the charts. build: makes a tab's body, at its first look."""
        self._tabs = tuple(tabs)
        self._bodies = [Late(lambda tab=tab: build(tab)) for tab in tabs]  # type: ignore[misc]
        for tab, body in zip(self._tabs, self._bodies, strict=True):
            if tab.early:
                _ = body.part
        self.tabs.children = tuple(body.widget for body in self._bodies)
        self.tabs.titles = tuple(tab.title for tab in self._tabs)
        self.refresh_code()

    @property
    def in_front(self) -> tuple[Tab[Any], TabBody]:
        """The tab that is shown, and its body, made now if it is not there yet."""
        place = self.tabs.selected_index or 0
        return self._tabs[place], self._bodies[place].part

    def body(self, title: str) -> Any:
        """The body of the tab of this title, made now if it is not there yet. Raises: StopIteration if there is none."""
        return next(body.part for tab, body in zip(self._tabs, self._bodies, strict=True) if tab.title == title)

    def tick(self) -> None:
        """Have the tabs that were made show how far work under way is."""
        front = self.tabs.selected_index or 0
        for place, body in enumerate(self._bodies):
            if body.made or place == front:
                body.part.tick(in_front=place == front)

    def search_in(self, name: str, domain: Domain) -> None:
        """Put a domain to search into a hyperparameter's control, and show the tab that starts searches."""
        self.controls.field(name).search(domain)
        self.tabs.selected_index = next(place for place, tab in enumerate(self._tabs) if tab.searches)

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
        self.refresh_code()

    def read(self) -> Config:
        """The configuration in the controls. Raises: ConfigError, shown."""
        return self.controls.read()

    def put(self, values: dict[str, Any]) -> None:
        """Put some values into the controls; the others stay as they are."""
        self.guarded(lambda: self.load(self.controls.read().replace(**values)))()

    def open_bar(self, trial: int, epoch: int, before: Config) -> None:
        """Offer to branch from a point: its configuration goes into the controls. before: the configuration as it was there."""
        self.panel.clear_error()
        self.bar.pick = None  # what is typed from here on counts for the new point
        pick = Pick(trial, epoch, before)
        self.controls.load(pick.config)
        self.bar.pick = pick
        self._curves.picked = (trial, epoch)
        self.panel.open_bar(True)
        self.refresh_code()

    def close_bar(self) -> None:
        """Take the branch bar away; the controls stay as they are."""
        self.bar.pick = None
        self._curves.picked = ()
        self.panel.open_bar(False)
        self.panel.clear_error()
        self.refresh_code()

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

    def guarded(self, action: Callable[..., Any]) -> Callable[..., None]:
        """The action with its errors shown: an exception in a callback would only reach a hidden log."""

        def guarded(*arguments: Any) -> None:
            try:
                action(*arguments)
            except Exception as error:
                self.show_error(error)
                if not isinstance(error, WorkbenchError):
                    raise

        return guarded

    def request(self, action: Callable[..., Any]) -> Callable[..., None]:
        """A callback that only enqueues: the action is done on the main thread at the next tick, with its errors shown."""
        return lambda *arguments: self.ask(lambda: self.guarded(action)(*arguments))

    def _train(self) -> None:
        self.panel.clear_error()
        panel = self.panel

        def start() -> None:
            config = self.controls.read()
            self._actions.start(config, seeds=panel.seeds.value, **self.about())
            if self.bar.pick is not None:
                self.close_bar()

        self.ask(self.guarded(start))

    def _branch(self) -> None:
        self.panel.clear_error()
        panel = self.panel

        def start() -> None:
            pick = self.bar.pick
            if pick is None:
                return
            changes = pick.changes(self.controls.read())
            self._actions.branch(pick.trial, pick.epoch, changes, seeds=panel.seeds.value, **self.about())
            self.close_bar()

        self.ask(self.guarded(start))

    def about(self) -> dict[str, Any]:
        """Name and device in the run panel, as the options of a call."""
        return {"name": self.panel.name.value.strip(), "device": self.panel.device.value}

    def look_again(self) -> None:
        """Have the tab in front brought up to date."""
        self.guarded(self._actions.look_again)()

    def _replay(self, trial: int) -> None:
        self.panel.clear_error()
        self._actions.replay(trial)

    def _resume_left(self) -> None:
        self.panel.clear_error()
        self._actions.resume_left()

    def _delete(self, trials: list[int]) -> None:
        self.panel.clear_error()
        self._actions.delete(trials)
        if self.bar.pick is not None and self.bar.pick.trial in trials:
            self.close_bar()
        self.table.tell_deleted(trials)

    def select_trials(self, trials: list[int]) -> None:
        """Select trials, in the table as well."""
        self.table.select(trials)
        self._actions.select(trials)

    def _set_live(self, name: str, value: float) -> None:
        if self._going and self.bar.pick is None:  # else it is a change of the branch
            self.guarded(self._actions.set)(name, value)

    def _load_trial(self, trial: int) -> None:
        self.load(self._config_of(trial))

    def _write_annotation(self, trial: int, name: str | None, note: str | None, tags: list[str] | None) -> None:
        self._actions.annotate(trial, name=name, note=note, tags=tags)

    def refresh_code(self) -> None:
        """Show the calls of what the controls and the tabs say, and let the tabs say what is in the controls."""
        panel, front = self.panel, self.tabs.selected_index or 0
        config: Config | ConfigError
        calls = []
        try:
            config = self.controls.read()
        except ConfigError as error:
            config = error
            self.code.show_problem(error)
            self.bar.tell(None)
        else:
            about = self.about()
            self.bar.tell(config)
            if self.bar.pick is None:
                calls = [call(config, seeds=panel.seeds.value, **about)]
            else:
                calls = [branch_call(self.bar.pick, config, seeds=panel.seeds.value, **about)]
        for place, body in enumerate(self._bodies):
            if body.made:
                calls += body.part.configured(config, in_front=place == front)
        if isinstance(config, Config):
            self.code.show("\n".join(calls))
