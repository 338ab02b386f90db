"""What the clicks in the tabs ask for: put into a queue on whatever thread they arrive, done on the main one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.core.config import Config
from workbench.core.errors import TaskError, WorkbenchError
from workbench.core.text import counted
from workbench.methods.data_versions.namespace import as_code, looked_up, notebook_variables
from workbench.methods.data_versions.tab import continue_call
from workbench.tasks import Task
from workbench.ui.aside import Aside, keep_traceback
from workbench.ui.parts import said

if TYPE_CHECKING:
    from workbench.ui.view import WorkbenchView

__all__ = ["Clicks"]

IN_MEMORY = "sqlite://"


class Clicks:
    """Requests of the tabs. `ask` and the methods named `stop_...` may be called on any thread, all else is for the main thread.

    A click calls `ask(clicks.ensemble, 5, None)`: that puts the request into a queue and wakes the pump. The next `tick` does
    what was asked: it tells the panel, gives work that takes its time to `aside`, and shows what came of it.

    bench: whose public calls are made. wake: wakes the pump, on any thread. anew: reads a tab anew, by its title. look: shows
    the layers after an epoch. variables: those of the notebook.
    """

    def __init__(
        self,
        view: WorkbenchView,
        bench: Any,
        *,
        wake: Callable[[], None],
        anew: Callable[[str], None],
        look: Callable[[int | None], None],
        variables: Callable[[], Mapping[str, object]] = notebook_variables,
    ) -> None:
        self._view, self._bench, self._wake = view, bench, wake
        self._anew, self.look_inside, self.variables = anew, look, variables
        self._asked: deque[Callable[[], object]] = deque()
        self.aside = Aside(wake)
        self._test: Any = None  # the range test under way, as `bench.lr_range_test` returned it
        self._continuation: Any = None  # as `bench.continue_on` returned it
        self._continued = ("", "")  # Python that shows its trials: while it goes on, and later

    def ask(self, action: Callable[..., object], *arguments: Any) -> None:
        """Have something done at the next tick. Any thread."""
        self._asked.append(partial(action, *arguments))
        self._wake()

    def tick(self) -> None:
        """Do what was asked, tell what came of what was begun before, and show how far the rest is."""
        while self._asked:
            request = self._asked.popleft()
            try:
                request()
            except Exception as error:  # of one request: the others are done all the same
                keep_traceback(error, "a click")
                self._view.show_error(error)
        self.aside.deliver()
        self._show_test()
        self._show_continuation()

    @property
    def continuing(self) -> int | None:
        """The number of the version that is trained on; None while there is none."""
        return None if self._continuation is None else int(self._continuation.version)

    def _fail(self, show: Callable[[str], object], error: BaseException) -> None:
        """Show an error where the click was; one that nobody foresaw stays under the buttons as well."""
        show(said(error))
        if isinstance(error, Exception) and not isinstance(error, WorkbenchError):
            self._view.show_error(error)

    # --- one click each ---------------------------------------------------------------------------------------------

    def open_test_set(self, key: tuple[str, int], again: bool, only_unseen: bool) -> None:
        """Measure ("trial", 7) or ("ensemble", 2) on the test split, or its unseen rows, and show what came of it."""
        if self.aside.busy("test-set"):
            return  # a double click
        kind, number = key
        bench, tab = self._bench, self._view.seal.part
        tab.busy()

        def work() -> list[str]:
            what = number if kind == "trial" else bench.load_ensemble(number)
            return list(bench.open_test_set(what, again=again, only_unseen=only_unseen).says)

        def then(lines: list[str] | None, error: Exception | None) -> None:
            if error is not None:
                self._fail(tab.show_problem, error)
            else:
                tab.show_result(lines or [])
            self._anew("Test set")

        self.aside.ask("test-set", work, then)

    def ensemble(self, size: int, select: str | None) -> None:
        """Make an ensemble of the best configurations, or of so many votes, and show it in the leaderboard."""
        if self.aside.busy("ensemble"):
            return  # a double click
        bench, panel = self._bench, self._view.compare.part
        options = {"top": size} if select is None else {"select": select, "size": size}
        panel.tell("Measuring the members and their optimism …")

        def then(made: Any, error: Exception | None) -> None:
            self._anew("Compare")
            if error is not None:
                self._fail(panel.tell_problem, error)
            else:
                panel.tell(" ".join([f"Ensemble {made.number}:", *made.says]))

        self.aside.ask("ensemble", lambda: bench.ensemble(**options), then)

    def range_test(self, config: Config, device: str) -> None:
        """Find a learning rate for a configuration, beside whatever trains. Raises: ConfigError, ModelError."""
        if self._test is None:
            self._test = self._bench.lr_range_test(config, device=device)
            self._view.range.part.show_running(0.0)

    def stop_range_test(self) -> None:
        """End the range test under way with what it has: that is a command to the test, which nothing has to wait for."""
        test = self._test
        if test is not None:
            test.stop()

    def try_it(self, trial: int, rule: str) -> None:
        """Start what a rule prescribes; the trial is judged anew first, so that it is what stands there."""
        if self.aside.busy("try-it"):
            return  # a double click
        bench, panel = self._bench, self._view.diagnosis.part
        panel.busy("Starting what is prescribed …")

        def then(run: Any, error: Exception | None) -> None:
            if error is not None:
                self._fail(lambda text: panel.refuse(trial, text), error)
            else:
                self._anew("Diagnose")

        self.aside.ask("try-it", lambda: bench.try_it(trial, rule), then)

    def finetune(self, trial: int, config: Config, options: dict[str, Any]) -> None:
        """Fine-tune a trial with the configuration in the controls; its weights may have to be trained again first."""
        bench, panel = self._bench, self._view.transfer.part
        panel.busy(f"Taking the layers of trial {trial} …")

        def then(run: Any, error: Exception | None) -> None:
            if error is not None:
                self._fail(panel.show_problem, error)
            else:
                panel.busy("")

        self.aside.ask("finetune", lambda: bench.finetune(from_trial=trial, config=config, **options), then)

    def continue_on(self, data: str, options: dict[str, Any]) -> None:
        """Begin a new version of the task on data that a text names (see `looked_up`); checking them may take its time."""
        if self._continuation is not None or self.aside.busy("continue"):
            return  # a double click
        bench, panel = self._bench, self._view.versions.part
        try:
            value = looked_up(data, self.variables(), bench.task)
        except TaskError as error:
            panel.show_problem(str(error))
            return
        panel.busy("Reading the new data, and comparing them with the old …")

        def then(made: Any, error: Exception | None) -> None:
            if error is not None:
                self._fail(panel.show_problem, error)
                return
            code = as_code(data)
            version = code if isinstance(value, Task) else f"bench.task.version({code})"
            self._continuation = made
            self._continued = (f"{continue_call(data, options)}.bench", _reopened(version, bench.log.url))
            self._anew("Transfer")  # the version is in the log by now

        self.aside.ask("continue", lambda: bench.continue_on(value, **options), then)

    def stop_continuing(self) -> None:
        """End the training on the new version; what there is by then is compared."""
        made = self._continuation
        if made is not None:
            made.stop()

    # --- what goes on -----------------------------------------------------------------------------------------------

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
            if error is not None or png is None:
                self._fail(panel.show_problem, error or RuntimeError("no picture"))
            else:
                panel.show(test.suggestion, test.reason, png)

        self.aside.ask("range-test", lambda: test.figure()._repr_png_(), then)

    def _show_continuation(self) -> None:
        made = self._continuation
        if made is None:
            return
        panel, version = self._view.versions.part, f"Version {made.version}"
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
            missing = made.task.former.missing
            left_out = f" {counted(missing, 'row')} of the former version are not in it." if missing else ""
            panel.show_done(f"{version} {ended}: {counts}.{left_out}{' Its workbench:' if later else ''}", later)
        else:
            keep_traceback(made.error, "continuation")
            self._fail(panel.show_problem, made.error)
        self._anew("Transfer")


def _reopened(version: str, url: str) -> str:
    """The call that shows a version of the task on the log of a URL; "" for one in memory, which cannot be opened again."""
    log = url.removeprefix("sqlite:///")
    return "" if url == IN_MEMORY else f"wb.Workbench({version}, log={log!r})"
