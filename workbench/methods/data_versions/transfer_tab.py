"""The transfer tab: fine-tuning, and below it the versions of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import ipywidgets as widgets
import pandas as pd

from workbench.core.config import Config
from workbench.core.errors import ConfigError, TaskError
from workbench.core.text import counted
from workbench.methods.data_versions.namespace import as_code, fitting, looked_up, notebook_variables
from workbench.methods.data_versions.tab import VersionsPanel, continue_call, transfer_calls
from workbench.methods.finetuning.tab import FinetuneBench, FinetunePart
from workbench.tasks import Task
from workbench.ui.dispatch import keep_traceback
from workbench.ui.parts import make
from workbench.ui.presenter import Presenter
from workbench.ui.tab import Tab, TabBody

if TYPE_CHECKING:
    from workbench.log import TrialLog
    from workbench.methods.data_versions.continue_on import Continuation

__all__ = ["TRANSFER", "TransferTab", "VersionsPart"]

IN_MEMORY = "sqlite://"


class TransferBench(FinetuneBench, Protocol):
    """What the tab asks of a workbench."""

    task: Task

    @property
    def log(self) -> TrialLog: ...
    @property
    def versions(self) -> pd.DataFrame: ...
    @property
    def version_changes(self) -> pd.DataFrame: ...
    @property
    def drift(self) -> pd.DataFrame: ...
    def continue_on(self, new_data: Any, *, top: int, seeds: int, name: str, device: str) -> Continuation[Any]: ...


class VersionsPart(TabBody):
    """The versions of the data, with what the button does: a part of the transfer tab.

    variables: those of the notebook, by name.
    """

    def __init__(self, presenter: Presenter, bench: TransferBench) -> None:
        self._presenter, self._bench, self.variables = presenter, bench, notebook_variables
        self._continuation: Continuation[Any] | None = None
        self._continued = ("", "")  # Python that shows its trials: while it goes on, and later
        table = presenter.task.schema.columns is not None
        self.panel = VersionsPanel(
            lambda: presenter.dispatch.ask(self._start), self.stop, presenter.shown.refresh_code, table=table
        )
        super().__init__(self.panel.widget)

    def refresh(self) -> None:
        """Read the tables, and offer the notebook's variables."""
        bench, panel = self._bench, self.panel
        label = self._presenter.task_log.metric_label.removeprefix("validation ")
        panel.offer(fitting(self.variables(), self._presenter.task))
        changes = bench.version_changes
        going = None if self._continuation is None else int(self._continuation.version)
        changes.loc[(changes["version"] == going) & changes["change_low"].isna(), "verdict"] = "in training"
        panel.show(bench.versions, changes, bench.drift, metric_label=label)

    def continue_on(self, data: str, options: dict[str, Any]) -> None:
        """Begin a new version of the task on data that a text names (see `looked_up`); checking them may take its time."""
        if self._continuation is not None or self._presenter.dispatch.background.busy("continue"):
            return  # a double click
        bench, panel, dispatch = self._bench, self.panel, self._presenter.dispatch
        try:
            value = looked_up(data, self.variables(), bench.task)
        except TaskError as error:
            panel.show_problem(str(error))
            return
        panel.busy("Reading the new data, and comparing them with the old …")

        def then(made: Any, error: Exception | None) -> None:
            if error is not None:
                dispatch.fail(panel.show_problem, error)
                return
            code = as_code(data)
            version = code if isinstance(value, Task) else f"bench.task.version({code})"
            self._continuation = made
            self._continued = (f"{continue_call(data, options)}.bench", _reopened(version, bench.log.url))
            self.refresh()  # the version is in the log by now

        self._presenter.dispatch.background.submit("continue", lambda: bench.continue_on(value, **options), then)

    def stop(self) -> None:
        """End the training on the new version; what there is by then is compared."""
        made = self._continuation
        if made is not None:
            made.stop()

    def _start(self) -> None:
        self.continue_on(self.panel.data.value, {**self.panel.options(), **self._presenter.shown.about()})

    def tick(self, *, in_front: bool) -> None:
        made = self._continuation
        if made is None:
            return
        panel, version = self.panel, f"Version {made.version}"
        now, later = self._continued
        if not made.done:
            count = len(made.runs.trials)
            trains = f"{counted(count, 'trial')} in training, {made.progress:.0%} done"
            text = f"{version}: {trains}. To watch, in a workbench of its own:"
            panel.show_running(round(made.progress, 2), text, now)
            return
        self._continuation = None
        if made.error is None:
            counts = ", ".join(f"{count} {word}" for word, count in made.table["verdict"].value_counts().items())
            ended = "was stopped" if made.stopped else "is trained"
            former = made.task.former
            missing = 0 if former is None else former.missing
            left_out = f" {counted(missing, 'row')} of the former version are not in it." if missing else ""
            panel.show_done(f"{version} {ended}: {counts}.{left_out}{' Its workbench:' if later else ''}", later)
        else:
            keep_traceback(made.error, "continuation")
            self._presenter.dispatch.fail(panel.show_problem, made.error)
        self.refresh()


class TransferTab(TabBody):
    """Fine-tuning above, versions of the data below."""

    def __init__(self, presenter: Presenter, bench: TransferBench) -> None:
        self._view = presenter.shown
        self.finetuning, self.versions = FinetunePart(presenter, bench), VersionsPart(presenter, bench)
        super().__init__(make(widgets.VBox, [self.finetuning.widget, self.versions.widget]))

    def refresh(self) -> None:
        """Read both parts."""
        self.finetuning.refresh()
        self.versions.refresh()

    def tick(self, *, in_front: bool) -> None:
        self.versions.tick(in_front=in_front)

    def configured(self, config: Config | ConfigError, *, in_front: bool) -> list[str]:
        if not in_front or isinstance(config, ConfigError):
            return []
        seeds = self._view.panel.seeds.value
        return transfer_calls(self.finetuning.panel, self.versions.panel, config, seeds, self._view.about())


TRANSFER = Tab("Transfer", TransferTab, TransferTab.refresh)


def _reopened(version: str, url: str) -> str:
    """The call that shows a version of the task on the log of a URL; "" for one in memory, which cannot be opened again."""
    log = url.removeprefix("sqlite:///")
    return "" if url == IN_MEMORY else f"wb.Workbench({version}, log={log!r})"
