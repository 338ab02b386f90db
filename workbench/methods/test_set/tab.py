"""The test-set tab: the seal, who has broken it, and the one button that does, which asks twice."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import ipywidgets as widgets
import pandas as pd

from workbench.core.registry import METRICS
from workbench.core.text import counted, in_sentence, rounded
from workbench.methods.comparison.reads import Reads
from workbench.methods.test_set.figure import opened_scores
from workbench.ui.bench import Bench
from workbench.ui.parts import labelled, make, offer, show
from workbench.ui.pictures import DescribedImage
from workbench.ui.presenter import Presenter
from workbench.ui.tab import Tab, TabBody

if TYPE_CHECKING:
    from workbench.methods.ensembles.ensemble import Ensemble
    from workbench.methods.test_set.open import TestResult

__all__ = ["TEST_SET", "SealTab", "TestSetTab"]

SHOWN = 8
"""So many of the last openings are drawn."""

Key = tuple[str, int]
"""("trial", 7) or ("ensemble", 2)."""


class SealTab:
    """Shows whether the test rows were looked at.

    open: called with a key, whether it is known to be a further look, and whether only unused rows are to be
    measured. Its parts are made when it is first shown.
    """

    def __init__(self, open: Callable[[Key, bool, bool], object]) -> None:
        self._open = open
        self._rows = self._unseen = self._looked = 0
        self._openings = pd.DataFrame()
        self._asking = False
        self.widget = make(widgets.VBox, [], classes="wb-seal")

    def refresh(
        self,
        openings: pd.DataFrame,
        choices: Sequence[tuple[str, Key]],
        *,
        draw: Callable[[pd.DataFrame], bytes],
        rows: int,
        unseen: int,
        looked: int,
        metric_label: str,
        metric: str = "",
    ) -> None:
        """Bring it up to date.

        openings: as `bench.openings`; draw: makes a PNG of some of them. choices: what may be measured, as (label, key), the
        best first. rows: of the test split, 0 for a task without one. unseen: those of them that no opening saw. looked:
        trials that have looked at the validation split. metric_label: without its split. metric: its name; openings by
        another one are listed with that, and not drawn.
        """
        if not self.widget.children:
            self._make()
        self._rows, self._unseen, self._looked = rows, unseen, looked
        offer(self.choice, choices)
        if len(openings) != len(self._openings) or not self.state.value:
            self._openings = openings
            self.history.value = _table(openings, metric_label, metric) if len(openings) else ""
            drawn = openings[openings["metric"] == metric] if metric else openings
            if len(drawn):
                self.picture.value = draw(drawn.tail(SHOWN))
            show(self.picture, bool(len(drawn)))
            self._ask(False)
        self.state.value = self._state()
        self.start.description = "Open again…" if len(openings) else "Open the test set…"
        self._settle()

    def busy(self) -> None:
        """It is being opened."""
        self._ask(False)
        self._say("Measuring…")

    def show_result(self, lines: Sequence[str]) -> None:
        """What came of it, in sentences."""
        self.result.value = "".join(f"<div>{html.escape(line)}</div>" for line in lines)

    def show_problem(self, text: str) -> None:
        self.result.value = f'<div class="wb-error" role="alert">{html.escape(text)}</div>'

    # ----------------------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        self.state = make(widgets.HTML)
        self.choice = make(widgets.Dropdown, options=[], tooltip="Model to evaluate on the test split")
        self.choice.observe(lambda _: self._ask(False), "value")
        self.start = make(
            widgets.Button, icon="lock", description="Open the test set…", classes="wb-wide",
            tooltip="Measure this model on the test rows; asks once more before it does",
        )  # fmt: skip
        self.start.on_click(lambda _: self._ask(True))
        self.sure = make(widgets.HTML)
        self.yes = make(widgets.Button, icon="unlock", description="Open it", classes="wb-danger")
        self.no = make(widgets.Button, description="Keep it sealed")
        self.fresh = make(widgets.Button, icon="unlock", classes="wb-wide", hidden=True)
        self.yes.on_click(lambda _: self._go())
        self.fresh.on_click(lambda _: self._go(only_unseen=True))
        self.no.on_click(lambda _: self._ask(False))
        buttons = make(widgets.Box, [self.yes, self.fresh, self.no], classes="wb-buttons")
        self.question = make(widgets.Box, [self.sure, buttons], classes="wb-banner", hidden=True)
        self.result = make(widgets.HTML, classes="wb-seal-result")
        self.picture = make(
            DescribedImage, tooltip="Test scores with their intervals", classes="wb-picture", hidden=True
        )
        self.history = make(widgets.HTML, classes="wb-board")
        row = make(widgets.Box, [labelled("model", self.choice), self.start], classes="wb-toprow")
        self.widget.children = (self.state, row, self.question, self.result, self.picture, self.history)

    def _state(self) -> str:
        if not self._rows:
            return _words(
                "No test set", "This task was made without one: split=(0.6, 0.2, 0.2) keeps a fifth of the rows for it."
            )
        rows = f"{self._rows:,} test rows"
        if not len(self._openings):
            return _words(
                "Sealed", f"{rows}, which no trial, search or figure has seen. Open them once, when the tuning is over."
            )
        last = self._openings.iloc[-1]
        return _words(
            last["stamp"].capitalize(),
            f"{rows}, last evaluated on {_when(last['when'])} by {last['who']} for {last['what']}. A further score can no "
            "longer be unbiased, and is stamped so.",
        )

    def _ask(self, asking: bool) -> None:
        self._asking = asking
        show(self.question, asking)
        self._settle()
        if not asking:
            return
        number = len(self._openings) + 1
        label = html.escape(str(self.choice.label))
        verb = "has" if self._looked == 1 else "have"
        note = f"{counted(self._looked, 'trial')} {verb} been evaluated on the validation set"
        if number == 1:
            says = f"Open the test set for <b>{label}</b>? {note}. This can be done once and is recorded in the log."
        else:
            says = f"Open it again for <b>{label}</b>? The result will be stamped <b>reused ({number})</b> wherever it is shown."
            if self._unseen:  # of a newer version of the data
                says += (
                    f" {counted(self._unseen, 'row').capitalize()} of it were never evaluated: their score is unbiased."
                )
        self.fresh.description = f"Only the {counted(self._unseen, 'unseen row')}"
        show(self.fresh, number > 1 and self._unseen > 0)
        self.sure.value = f'<span role="alertdialog">{says}</span>'

    def _settle(self) -> None:
        self.start.disabled = self._asking or not self._rows or not self.choice.options

    def _go(self, only_unseen: bool = False) -> None:
        key: Any = self.choice.value
        again = bool(len(self._openings)) and not only_unseen
        self._ask(False)
        self._open(key, again, only_unseen)

    def _say(self, text: str) -> None:
        self.result.value = f'<div class="wb-note" role="status">{html.escape(text)}</div>'


def _words(head: str, text: str) -> str:
    return f'<div role="status"><b>{html.escape(head)}</b><br><span class="wb-hint">{html.escape(text)}</span></div>'


def _number(value: float, *, sign: bool = False) -> str:
    """A number as text, "" for NaN: a refit has no validation score."""
    return "" if math.isnan(value) else rounded(value, sign=sign)


def _when(text: str) -> str:
    return f"{text[:16].replace('T', ' ')} UTC"


def _table(openings: pd.DataFrame, metric_label: str, metric: str) -> str:
    """The openings as an HTML table, the last first; all text escaped. metric: what the heading speaks of."""
    heads = [
        "when",
        "what",
        f"test {metric_label}",
        "95% interval",
        "validation",
        "optimism",
        "trials before",
        "by",
        "",
    ]
    rows = []
    for row in openings[::-1].to_dict("records"):
        other = f" ({row['metric']})" if metric and row["metric"] != metric else ""
        cells = [
            _when(row["when"]), row["what"], f"{rounded(row['score'])}{other}",
            f"{rounded(row['low'])} to {rounded(row['high'])}", _number(row["validation"]),
            _number(row["optimism"], sign=True), f"{row['looked']:,}", row["who"], row["stamp"],
        ]  # fmt: skip
        rows.append(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    return f'<table class="wb-leaderboard"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


class TestSetBench(Bench, Protocol):
    """What the tab asks of a workbench."""

    @property
    def openings(self) -> pd.DataFrame: ...
    def load_ensemble(self, number: int) -> Ensemble: ...
    def open_test_set(self, trial: int | Ensemble, *, again: bool, only_unseen: bool) -> TestResult: ...


class TestSetTab(TabBody):
    """The test-set tab: what may be measured, and the opening."""

    __test__ = False  # no test of pytest's

    def __init__(self, presenter: Presenter, bench: TestSetBench) -> None:
        self._presenter, self._bench = presenter, bench
        ask = presenter.dispatch.ask
        self.panel = SealTab(lambda key, again, only_unseen: ask(self.open, key, again, only_unseen))
        super().__init__(self.panel.widget)

    def refresh(self) -> None:
        """Read which test rows were evaluated before, and what can be evaluated."""
        reads = Reads.of(self._presenter.session)
        board = reads.leaderboard(5)
        best = [int(trial) for trial in board["trial"]]
        chosen = self._presenter.trial_in_view()
        trials = [trial for trial in dict.fromkeys([*best[:1], chosen, *best]) if trial is not None]
        choices = [(f"trial {trial}" + ", the best" * (trial in best[:1]), ("trial", trial)) for trial in trials]
        choices += [(f"ensemble {number}", ("ensemble", int(number))) for number in reads.ensembles()["ensemble"]]
        label = in_sentence(METRICS[reads.task.metric].label)
        self.panel.refresh(
            self._bench.openings, choices, rows=reads.task.sizes["test"], unseen=reads.unseen_test_rows(),
            looked=reads.log.results.count_measured(reads.task.fingerprint), metric_label=label, metric=reads.task.metric,
            draw=lambda frame: opened_scores(frame, metric_label=f"{label}, test rows")._repr_png_(),
        )  # fmt: skip

    def open(self, key: Key, again: bool, only_unseen: bool) -> None:
        """Measure ("trial", 7) or ("ensemble", 2) on the test split, or its unseen rows, and show what came of it."""
        dispatch, bench, panel = self._presenter.dispatch, self._bench, self.panel
        if dispatch.background.busy("test-set"):
            return  # a double click
        kind, number = key
        panel.busy()

        def work() -> list[str]:
            what = number if kind == "trial" else bench.load_ensemble(number)
            return list(bench.open_test_set(what, again=again, only_unseen=only_unseen).description)

        def then(lines: list[str] | None, error: Exception | None) -> None:
            if error is not None:
                dispatch.fail(panel.show_problem, error)
            else:
                panel.show_result(lines or [])
            self.refresh()

        dispatch.background.submit("test-set", work, then)


TEST_SET = Tab("Test set", TestSetTab, TestSetTab.refresh, follows_selection=True)
