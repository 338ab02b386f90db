"""The user interface as one widget: controls, run panel, live charts, and the tabs below them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from workbench.core.config import Config
from workbench.core.domains import Domain
from workbench.core.errors import ConfigError, RunError, WorkbenchError
from workbench.core.registry import METRICS
from workbench.runs.run import Run
from workbench.training.devices import available_devices
from workbench.ui.access import Access
from workbench.ui.bench import Bench
from workbench.ui.best_bar import BestBar
from workbench.ui.branch_bar import BranchBar, Pick, branch_call
from workbench.ui.code_tab import CodeTab, start_call
from workbench.ui.controls import Controls
from workbench.ui.curves import LiveCurves
from workbench.ui.dispatch import ShowText
from workbench.ui.late import Late
from workbench.ui.parts import error_text, make
from workbench.ui.run_panel import RunPanel
from workbench.ui.status import Status
from workbench.ui.tab import Tab, TabBody
from workbench.ui.trial_table import TrialTable

if TYPE_CHECKING:
    from workbench.ui.presenter import Presenter

__all__ = ["WorkbenchView"]

STYLE = f"<style>{(Path(__file__).parent / 'style.css').read_text(encoding='utf-8')}</style>"
MORE_SEEDS = 4
MARKED = "Not started: see the marked controls."


class WorkbenchView:
    """Shows what the presenter hands it. Each click is a request to the dispatch, which calls the public method of `bench`;
    pause, resume, stop and live changes go straight to the run.

    curves: the live charts. `widget` is what is displayed; it has no tabs before `add_tabs`. All methods are for the main
    thread.
    """

    def __init__(self, presenter: Presenter, bench: Bench, curves: LiveCurves) -> None:
        self._presenter, self._bench, self.curves = presenter, bench, curves
        self.active = False
        self._tabs: tuple[Tab[Any, TabBody], ...] = ()
        self._bodies: list[Late[TabBody]] = []
        ask, devices = presenter.dispatch.ask, available_devices()
        self.code = CodeTab()
        self.bar = BranchBar(lambda: ask(self._branch), lambda: ask(self.close_bar))
        self.best = BestBar(
            load=lambda trial: ask(lambda: self.load(bench.config(trial))),
            more_seeds=lambda trial: ask(lambda: bench.add_seeds(trials=[trial], seeds=MORE_SEEDS, **self.device())),
            diagnose=lambda trial: ask(self._diagnose, trial),
        )
        self.panel = RunPanel(devices, self.bar, lambda: ask(self._resume), self.best)
        curves.on_pick(lambda trial, epoch: ask(presenter.pick, trial, int(epoch)))
        if bench.device in devices:
            self.panel.device.value = bench.device
        self.controls = Controls(
            presenter.task.kind, changed=self.refresh_code, live=self._set_live, limits=bench.control_limits,
            start=presenter.task.suggested_config(),
        )  # fmt: skip
        self.table = TrialTable(
            presenter.select,
            load=self._request(lambda trial: self.load(bench.config(trial))),
            branch=self._request(presenter.pick),
            replay=self._request(lambda trial: bench.replay(trial)),
            annotate=self._request(lambda trial, **texts: bench.annotate(trial, **texts)),
            delete=self._request(self._delete),
            undo=self._request(lambda: bench.restore(*self.table.take_deleted())),
        )
        curves.keep(self.table.table)
        self.panel.train.on_click(lambda _: ask(self._train))
        self.panel.pause.on_click(
            lambda _: self._command(lambda run: run.resume() if self.panel.paused else run.pause())
        )
        self.panel.stop.on_click(lambda _: self._command(lambda run: run.stop()))
        for control in (self.panel.name, self.panel.seeds, self.panel.device):
            control.observe(lambda _: self.refresh_code(), "value")
        side = make(widgets.VBox, [self.controls.widget], classes="wb-side")
        self.tabs = make(widgets.Tab, [], classes="wb-tabs")
        self.tabs.observe(lambda _: presenter.look_again(), "selected_index")
        charts = [self._metric_menu(presenter), curves] if len(presenter.task.metrics) > 1 else [curves]
        main = make(widgets.VBox, [self.panel.widget, *charts, self.tabs], classes="wb-main")
        body = make(widgets.Box, [side, main], classes="wb-body")
        self.access = make(Access, lambda field, text: ask(self._enter, field, text), classes="wb-access")
        self.widget = make(widgets.VBox, [make(widgets.HTML, STYLE, hidden=True), self.access, body], classes="wb-root")
        self.refresh_code()

    @staticmethod
    def _metric_menu(presenter: Presenter) -> widgets.Dropdown:
        """Chooses the metric of the second chart."""
        options = [(METRICS[name].label, name) for name in presenter.task.metrics]
        menu = make(
            widgets.Dropdown, options=options, description="Second chart", tooltip="The metric shown in the second chart",
            classes="wb-metric",
        )  # fmt: skip
        menu.observe(lambda change: presenter.choose_metric(change["new"]), "value")
        return menu

    def add_tabs(self, tabs: Sequence[Tab[Any, Any]]) -> None:
        """Put the tabs under the charts. The body of a tab is made when it is first shown."""
        presenter, bench = self._presenter, self._bench
        self._tabs = tuple(tabs)
        self._bodies = [Late(lambda tab=tab: tab.build(presenter, bench)) for tab in tabs]  # type: ignore[misc]
        for tab, body in zip(self._tabs, self._bodies, strict=True):
            if tab.early:
                _ = body.part
        self.tabs.children = tuple(body.widget for body in self._bodies)
        self.tabs.titles = tuple(tab.title for tab in self._tabs)
        self.refresh_code()

    @property
    def in_front(self) -> tuple[Tab[Any, TabBody], TabBody]:
        """The tab that is shown, and its body, made now if it is not there yet."""
        place = self.tabs.selected_index or 0
        return self._tabs[place], self._bodies[place].part

    def body(self, title: str) -> Any:
        """The body of the tab of this title, made now if it is not there yet. Raises: StopIteration if there is none."""
        return next(body.part for tab, body in zip(self._tabs, self._bodies, strict=True) if tab.title == title)

    def tick(self) -> None:
        """Have the tabs that were made show the progress of work under way."""
        front = self.tabs.selected_index or 0
        for place, body in enumerate(self._bodies):
            if body.made or place == front:
                body.part.tick(in_front=place == front)

    def search_in(self, name: str, domain: Domain) -> None:
        """Put a domain to search into a hyperparameter's control, and show the tab that starts searches."""
        self.controls.field(name).search(domain)
        self.tabs.selected_index = next(place for place, tab in enumerate(self._tabs) if tab.searches)

    def update(self, status: Status) -> None:
        """Show the state of the run."""
        self.active = status.active
        self.panel.update(status)

    def show_error(self, error: Exception, show: ShowText | None = None) -> None:
        """Show an error: a problem with a control under that control, all else by `show`, by default under the buttons.

        An unexpected error also stays under the buttons.
        """
        if isinstance(error, ConfigError):
            others = self.controls.show(error)
            text = "\n".join(problem.message for problem in others) or MARKED
        else:
            text = error_text(error)
        if show is not None:
            show(text)
        if show is None or not isinstance(error, WorkbenchError):
            self.panel.show_error(text)

    def load(self, config: Config) -> None:
        """Put a configuration into the controls."""
        self.controls.load(config)
        self.refresh_code()

    def put(self, **values: Any) -> None:
        """Put some values into the controls; the others stay as they are. Raises: ConfigError, shown."""
        self.controls.limits.check_included(*values)
        self.controls.load(self.controls.read().replace(**values), leave=values)
        self.refresh_code()

    def open_bar(self, trial: int, epoch: int, before: Config) -> None:
        """Offer to branch from a point: its configuration goes into the controls. before: the configuration at that point."""
        self.panel.clear_error()
        self.bar.pick = None  # what is typed from here on counts for the new point
        pick = Pick(trial, epoch, before)
        self.controls.load(pick.config)
        self.bar.pick = pick
        self.curves.picked = (trial, epoch)
        self.panel.open_bar(True)
        self.refresh_code()

    def close_bar(self) -> None:
        """Take the branch bar away; the controls stay as they are."""
        self.bar.pick = None
        self.curves.picked = ()
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
            self.code.show_script(trials[0], self._bench.code(trials[0]))
        except WorkbenchError as error:
            self.code.show_script(trials[0], error)

    def device(self) -> dict[str, Any]:
        """The device in the run panel, as the option of a call."""
        return {"device": self.panel.device.value}

    def about(self) -> dict[str, Any]:
        """Name and device in the run panel, as the options of a call."""
        return {"name": self.panel.name.value.strip(), "device": self.panel.device.value}

    def select_trials(self, trials: list[int]) -> None:
        """Select trials, in the table as well."""
        self.table.select(trials)
        self._presenter.select(trials)

    def refresh_code(self) -> None:
        """Show the calls for what is in the controls and the tabs, and hand the configuration to the tabs."""
        panel, front = self.panel, self.tabs.selected_index or 0
        config: Config | ConfigError
        calls = []
        try:
            config = self.controls.read()
        except ConfigError as error:
            config = error
            self.code.show_problem(error)
            self.bar.update(None)
        else:
            options = {"seeds": panel.seeds.value, **self.about()}
            self.bar.update(config)
            pick = self.bar.pick
            calls = [start_call(config, **options) if pick is None else branch_call(pick, config, **options)]
        for place, body in enumerate(self._bodies):
            if body.made:
                calls += body.part.configured(config, in_front=place == front)
        if isinstance(config, Config):
            self.code.show("\n".join(calls))

    # --- what the buttons do ----------------------------------------------------------------------------------------

    def _request(self, action: Callable[..., object]) -> Callable[..., None]:
        """A callback of the table that only enqueues; the message of an error is shown under the table."""

        def act(*arguments: Any, **options: Any) -> None:
            self.panel.clear_error()
            self.table.show_problem("")
            action(*arguments, **options)

        def enqueue(*arguments: Any, **options: Any) -> None:
            self._presenter.dispatch.ask(
                lambda: act(*arguments, **options), show=lambda text: self.table.show_problem(text)
            )

        return enqueue

    def _train(self) -> None:
        self.panel.clear_error()
        self._bench.start(self.controls.read(), seeds=self.panel.seeds.value, **self.about())
        if self.bar.pick is not None:
            self.close_bar()

    def _enter(self, field: str, text: str) -> None:
        """Enter was pressed in a field: train with what is typed there; a run under way takes it, if it is a live change."""
        if field == "name":
            self.panel.name.value = text
        elif field == "seeds":
            self.panel.seeds.value = int(text) if text.isdecimal() else self.panel.seeds.value
        else:
            self.controls.field(field).write(text)
        if not self.active:
            (self._train if self.bar.pick is None else self._branch)()

    def _branch(self) -> None:
        self.panel.clear_error()
        pick = self.bar.pick
        if pick is not None:
            changes = pick.changes(self.controls.read())
            self._bench.branch(pick.trial, pick.epoch, seeds=self.panel.seeds.value, **self.about(), **changes)
            self.close_bar()

    def _diagnose(self, trial: int) -> None:
        self.select_trials([trial])
        self.tabs.selected_index = next(place for place, tab in enumerate(self._tabs) if tab.diagnoses)

    def _resume(self) -> None:
        self.panel.clear_error()
        self._bench.resume()

    def _delete(self, trials: list[int]) -> None:
        self._bench.delete(*trials)
        if self.bar.pick is not None and self.bar.pick.trial in trials:
            self.close_bar()
        self.table.show_deleted(trials)

    def _command(self, command: Callable[[Run], object]) -> None:
        """Hand a command straight to the run under way, on any thread: it acts while a cell keeps the kernel busy."""
        run = self._presenter.runner.current
        try:
            if run is None:
                raise RunError("nothing is training; press Train first")
            command(run)
        except WorkbenchError as error:
            self._presenter.dispatch.ask(self.show_error, error)

    def _set_live(self, name: str, value: float) -> None:
        """Change a live hyperparameter of the run under way; while the branch bar is open, it is a change of the branch."""
        if not self.active or self.bar.pick is not None:
            return

        def change(run: Run) -> None:
            if not run.done:
                run.set(None, **{name: value})
            if not run.done and run.grows:
                label = name.replace("_", " ").capitalize()
                run.message(f"{label} {value:g} for the trials that train now; the search draws it for later ones.")

        if self._presenter.runner.current is not None:
            self._command(change)
