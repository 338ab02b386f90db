"""The errors tab: a trial, a split and an epoch to choose, and where that model is wrong. It shows what it is given."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import ipywidgets as widgets
import pandas as pd

from workbench.methods.comparison.reads import Reads
from workbench.methods.errors.errors import TrialErrors, kept_epochs
from workbench.methods.errors.figure import caption
from workbench.ui.bench import Bench
from workbench.ui.parts import button, labelled, make, message, offer
from workbench.ui.pictures import figure_html, thumbnails
from workbench.ui.presenter import Presenter
from workbench.ui.tab import Tab, TabBody
from workbench.ui.tables import heading, html_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ERRORS", "ErrorsPanel", "ErrorsTab", "errors_call", "errors_html"]

HINT = "Which rows does a model get wrong? Choose a trial and press Show errors. The test rows stay sealed."
SPLITS = (("validation", "validation"), ("training", "train"))
BEST = 0
"""The epoch that stands for the best one in the menu."""
ALL = 0
"""The fold that stands for all of them."""
TRIALS = 50
"""So many of the newest trials are offered, besides the best and the one in view."""
CLASSES, WORST, INPUTS, PICTURES = 15, 10, 5, 20
"""So many classes, worst rows, inputs and pictures are shown; the call has them all."""


class ErrorsPanel:
    """look: called with trial, epoch (0 for the best), split and fold (0 for all); trial_changed: with the trial. Both must only
    enqueue. folds: of the task, 0 without a cross-validation."""

    def __init__(
        self, look: Callable[[int, int, str, int], None], trial_changed: Callable[[int], None], folds: int = 0
    ) -> None:
        self._look, self._trial_changed = look, trial_changed
        self.trial = make(widgets.Dropdown, options=[], tooltip="Whose errors")
        self.split = make(widgets.Dropdown, options=SPLITS, tooltip="On which rows; the test rows stay sealed")
        self.epoch = make(
            widgets.Dropdown, options=[("best", BEST)], tooltip="Weights after this epoch, one that has a checkpoint"
        )
        numbers = [(str(number), number) for number in range(1, folds + 1)]
        tooltip = "All: each row is judged by the model of the fold that did not train on it"
        self.fold = make(widgets.Dropdown, options=[("all", ALL), *numbers], tooltip=tooltip)
        self.start = button("Show errors", "search", "List the errors of this model", classes="wb-train wb-wide")
        self.trial.observe(self._changed, "value")
        self.start.on_click(lambda _: self._press())
        controls = [labelled("trial", self.trial), labelled("rows", self.split), labelled("epoch", self.epoch)]
        if folds:
            controls.append(labelled("fold", self.fold))
        bar = make(widgets.Box, [*controls, make(widgets.Box, [self.start], classes="wb-buttons")], classes="wb-toprow")
        self.state = make(widgets.HTML, classes="wb-message")
        self.shown = make(widgets.HTML, classes="wb-board")
        self.widget = make(widgets.VBox, [bar, self.state, self.shown], classes="wb-errors")
        self.offer([], None)

    def offer(self, choices: Sequence[tuple[str, int]], trial: int | None) -> None:
        """The trials to choose from, as (label, number), and the one to choose now, None to leave that as it is."""
        offer(self.trial, choices)
        if trial is not None and trial in [number for _, number in choices]:
            self.trial.value = trial
        self.start.disabled = not choices
        if not self.shown.value and not choices:
            self._say(message("Train a model first; this tab then lists the rows that it gets wrong.", "hint"))
        elif not self.shown.value and "wb-error" not in self.state.value:
            self._say(message(HINT, "hint"))

    def offer_epochs(self, epochs: Sequence[int]) -> None:
        """The epochs to choose from besides the best."""
        offer(self.epoch, [("best", BEST), *[(str(epoch), epoch) for epoch in epochs]])

    def busy(self, trial: int) -> None:
        """The errors are on their way; what is shown stays."""
        self._say(message(f"Evaluating trial {trial} …", "hint"))

    def show(self, found: TrialErrors, shown: str) -> None:
        """The errors of a model. shown: their HTML, as `errors_html` makes it."""
        lines = "".join(f"<div>{html.escape(line)}</div>" for line in found.description)
        call = errors_call(found)
        self._say(f'<div role="status">{lines}<code>{html.escape(call)}</code></div>')
        self.shown.value = shown

    def show_problem(self, text: str) -> None:
        """Why there is nothing to show, until the next click."""
        self.shown.value = ""
        self._say(message(text))

    # ----------------------------------------------------------------------------------------------------------------

    def _changed(self, change: dict[str, int | None]) -> None:
        if change["new"] is not None:
            self._trial_changed(change["new"])

    def _press(self) -> None:
        if self.trial.value is not None:
            self._look(self.trial.value, self.epoch.value, self.split.value, self.fold.value)

    def _say(self, text: str) -> None:
        if self.state.value != text:
            self.state.value = text


def errors_call(found: TrialErrors) -> str:
    """The call of `bench.errors` that finds the same, as text; what is at its default is left out."""
    given = [str(found.trial), *[str(found.epoch)] * (not found.best)]
    given += [f"split={found.split!r}"] * (found.split != "validation") + [f"fold={found.fold}"] * (
        found.fold is not None
    )
    return f"bench.errors({', '.join(given)})"


def errors_html(found: TrialErrors, png: bytes) -> str:
    """The figure (a PNG), the table of classes and the worst rows as HTML; all text escaped."""
    what = "Residuals against predictions" if found.confusion is None else "Confusion matrix and calibration"
    figure = figure_html(png, f"{what}. {' '.join(found.description)}")
    parts = [] if found.per_class is None else [_classes(found.per_class)]
    if found.confusion is None and len(found.summary) > 1:
        parts.append(heading("Targets") + html_table(_summary(found.summary)))
    if found.image and found.inputs is not None:
        parts.append(_pictures(found, found.inputs))
    else:
        parts.append(_worst(found))
    return f'{figure}<div class="wb-columns">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def _classes(table: pd.DataFrame) -> str:
    shown = table.sort_values("f1", kind="stable").head(CLASSES)
    rows = pd.DataFrame({"class": shown.index.astype(str), "rows": shown["support"], "predicted": shown["predicted"]})
    for name, label in (("precision", "precision"), ("recall", "recall"), ("f1", "F1"), ("iou", "IoU")):
        if name not in shown:
            continue
        rows[label] = ["" if pd.isna(value) else f"{value:.3f}" for value in shown[name]]
    more = f", {len(shown)} of {len(table)}" if len(shown) < len(table) else ""
    return heading(f"Classes, the lowest F1 first{more}") + html_table(rows)


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    shown = table.drop(columns="rows").map(lambda value: f"{value:.4g}")
    return shown.rename(columns={"rmse": "RMSE", "mae": "MAE"}).reset_index()


def _worst(found: TrialErrors) -> str:
    own = list(found.rows.columns)
    inputs = [name for name in found.worst if name not in own]
    shown = found.worst[[*own, *inputs[:INPUTS]]].head(WORST)
    pale = None if found.confusion is None else (~_wrong(found).head(WORST)).tolist()
    title = "Worst rows" + ("" if pale is None or not any(pale) else " (pale: right, but unsure)")
    more = ""
    if len(inputs) > INPUTS:
        call = html.escape(errors_call(found))
        more = f'<div class="wb-hint">{len(inputs) - INPUTS:,} more inputs in {call}.worst</div>'
    return heading(title) + html_table(shown, pale) + more


def _wrong(found: TrialErrors) -> pd.Series[bool]:
    """Whether each of the worst rows has a wrong answer; of numbers none counts as wrong."""
    worst = found.worst
    if found.confusion is None:
        return pd.Series(False, index=worst.index)
    return worst["wrong"] > 0 if "wrong" in found.rows else worst["true"] != worst["predicted"]


def _pictures(found: TrialErrors, inputs: NDArray[Any]) -> str:
    rows = found.worst.head(PICTURES).to_dict("records")
    wrong = ["wb-thumbnail-wrong" if one else "" for one in _wrong(found).head(PICTURES)]
    return heading("Worst rows") + thumbnails(inputs[: len(rows)], [caption(found, row) for row in rows], wrong)


class ErrorsBench(Bench, Protocol):
    """What the tab asks of a workbench."""

    def errors(self, trial: int, epoch: int | None, *, split: str, fold: int | None) -> TrialErrors: ...


class ErrorsTab(TabBody):
    """The errors tab: which trials there are, and the errors of the one that is asked for."""

    def __init__(self, presenter: Presenter, bench: ErrorsBench) -> None:
        self._presenter, self._bench = presenter, bench
        self._in_view: int | None = None
        ask, folds = presenter.dispatch.ask, presenter.task.folds
        self.panel = ErrorsPanel(
            lambda *wanted: ask(self.look, *wanted), lambda trial: ask(self.offer_epochs, trial),
            0 if folds is None else len(folds),
        )  # fmt: skip
        super().__init__(self.panel.widget)

    def refresh(self) -> None:
        """Offer the trials that can be looked at; the one in view is chosen when it is another than before."""
        reads, in_view = Reads.of(self._presenter.session), self._presenter.trial_in_view()
        newest = reads.trials(last=TRIALS)
        best = [int(trial) for trial in reads.leaderboard(1)["trial"]]
        known = [int(trial) for trial in newest.loc[newest["epochs_run"] > 0, "trial"]][::-1]
        trials = [trial for trial in dict.fromkeys([*best, in_view, *known]) if trial is not None]
        choices = [(f"{trial}" + " (best)" * (trial in best), trial) for trial in trials]
        self.panel.offer(choices, in_view if in_view != self._in_view else None)
        self._in_view = in_view
        if self.panel.trial.value is not None:
            self.offer_epochs(self.panel.trial.value)

    def offer_epochs(self, trial: int) -> None:
        """Offer the epochs of a trial that have a checkpoint."""
        self.panel.offer_epochs(kept_epochs(self._presenter.session, trial))

    def look(self, trial: int, epoch: int, split: str, fold: int) -> None:
        """Show the errors of a trial after an epoch, 0 for the best one, and of a fold, 0 for all of them."""
        dispatch, bench, panel = self._presenter.dispatch, self._bench, self.panel
        panel.busy(trial)

        def work() -> tuple[TrialErrors, str]:
            found = bench.errors(
                trial, None if epoch == BEST else epoch, split=split, fold=None if fold == ALL else fold
            )
            return found, errors_html(found, found.figure()._repr_png_())

        def then(found: tuple[TrialErrors, str] | None, error: Exception | None) -> None:
            if error is not None:
                dispatch.fail(panel.show_problem, error)
            elif found is not None:
                panel.show(*found)

        dispatch.background.submit("errors", work, then)


ERRORS = Tab("Errors", ErrorsTab, ErrorsTab.refresh, follows_selection=True)
