"""The compare tab: parallel coordinates to brush, the leaderboard, and figures over many trials."""

from __future__ import annotations

import html
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import ipywidgets as widgets
import pandas as pd

from workbench.core.direction import Better
from workbench.core.errors import WorkbenchError
from workbench.core.text import counted, rounded
from workbench.methods.comparison.importance import varied
from workbench.methods.comparison.parallel import ParallelCoordinates
from workbench.methods.comparison.range_edges import RangeEdge
from workbench.methods.comparison.reads import Reads, listed_searches
from workbench.ui.bench import Bench
from workbench.ui.parts import labelled, make, offer, show
from workbench.ui.pictures import DescribedImage
from workbench.ui.presenter import Presenter
from workbench.ui.tab import Tab, TabBody
from workbench.ui.task_log import TABLE_TRIALS

if TYPE_CHECKING:
    from workbench.methods.comparison.patience_advice import PatienceAdvice

__all__ = ["COMPARE", "ComparePanel", "CompareTab", "Selection"]

KINDS = (
    ("Parallel coordinates", "parallel"), ("Leaderboard", "leaderboard"), ("Importance", "importance"), ("Scatter", "scatter"),
    ("Slices", "slices"), ("Cost and size", "complexity"), ("Patience", "patience"),
)  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """What the tab shows. search: of one search only. x, y: of a scatter."""

    kind: str = "parallel"
    search: int | None = None
    x: str = ""
    y: str = ""


class ComparePanel:
    """Lets people choose what to compare, and shows it.

    request: called with the new choice. widen: with the edge whose button was pressed. ensemble: with the number of the best
    configurations, or votes, and how members are selected. use_patience: with the patience that is suggested.
    """

    def __init__(
        self,
        request: Callable[[Selection], None],
        brushed: Callable[[list[int]], None],
        add_seeds: Callable[[int, int], None],
        widen: Callable[[RangeEdge], None],
        ensemble: Callable[[int, str | None], None],
        use_patience: Callable[[int], None],
    ) -> None:
        self._request, self._widen = request, widen
        self._quiet = False
        self._part = ""
        self.kind = make(widgets.Dropdown, options=KINDS, value="parallel", tooltip="What to show")
        self.scope = make(widgets.Dropdown, options=[("all trials", 0)], value=0, tooltip="Which trials")
        self.x = make(widgets.Dropdown, options=[], tooltip="Horizontal axis")
        self.y = make(widgets.Dropdown, options=[], tooltip="Vertical axis")
        for control in (self.kind, self.scope, self.x, self.y):
            control.observe(self._ask, "value")
        self._axes = make(
            widgets.Box,
            [labelled("x", self.x), labelled("y", self.y)],
            classes="wb-options",
            hidden=True,
        )
        bar = make(
            widgets.Box, [labelled("show", self.kind), labelled("of", self.scope), self._axes], classes="wb-toprow"
        )
        self.parallel = ParallelCoordinates()
        self.parallel.observe(lambda change: brushed([int(trial) for trial in change["new"]]), "selected")
        self._coordinates = make(widgets.Box, [self.parallel], classes="wb-plain")
        self.picture = make(DescribedImage, classes="wb-picture", hidden=True)
        self.text = make(widgets.HTML, classes="wb-board", hidden=True)
        self.top = make(widgets.BoundedIntText, 3, min=1, max=100, tooltip="Best configurations that get more seeds")
        self.more = make(widgets.BoundedIntText, 5, min=1, max=100, tooltip="Number of new seeds for each of them")
        self.add = make(
            widgets.Button, description="Add seeds", icon="plus",
            tooltip="Train more seeds of the configurations that do not differ significantly from the best",
        )  # fmt: skip
        self.add.on_click(lambda _: add_seeds(self.top.value, self.more.value))
        self.members = make(
            widgets.Dropdown, options=["top", "greedy"], value="top",
            tooltip="The best configurations with one vote each, or votes given one by one to the model that helps most",
        )  # fmt: skip
        self.size = make(
            widgets.BoundedIntText, 5, min=1, max=100, tooltip="Number of the best configurations, or of votes"
        )
        self.build = make(
            widgets.Button, description="Ensemble", icon="object-group",
            tooltip="Combine the best models into an ensemble and add it to the leaderboard",
        )  # fmt: skip
        self.build.on_click(
            lambda _: ensemble(self.size.value, None if self.members.value == "top" else self.members.value)
        )
        self._seeds = make(
            widgets.Box,
            [
                self.add, labelled("top", self.top), labelled("seeds", self.more),
                self.build, labelled("members", self.members), labelled("size", self.size),
            ],
            classes="wb-toprow", hidden=True,
        )  # fmt: skip
        self.use = make(widgets.Button, description="Use it", icon="check", hidden=True)
        self._patience = 0
        self.use.on_click(lambda _: use_patience(self._patience))
        self.note = make(widgets.HTML, classes="wb-message")
        self.edges = make(widgets.VBox, [], classes="wb-edges")
        self._bordered: list[RangeEdge] = []
        self.widget = make(
            widgets.VBox,
            [bar, self.edges, self.note, self.use, self._coordinates, self.picture, self.text, self._seeds],
            classes="wb-compare",
        )

    @property
    def chosen(self) -> Selection:
        """The present choice."""
        return Selection(self.kind.value, self.scope.value or None, self.x.value or "", self.y.value or "")

    def offer(self, searches: Sequence[tuple[str, int]], names: Sequence[str]) -> None:
        """The scopes and axes there are to choose from."""
        self._quiet = True
        try:
            for control, options in (
                (self.scope, [("all trials", 0), *searches]),
                (self.x, [(name.replace("_", " "), name) for name in names]),
                (self.y, [(name.replace("_", " "), name) for name in names]),
            ):
                offer(control, options)
            if self.x.value == self.y.value and len(names) > 1:
                self.y.value = names[1] if self.x.value == names[0] else names[0]
        finally:
            self._quiet = False

    def show_parallel(self, frame: pd.DataFrame, names: Sequence[str], *, metric_label: str, better: Better) -> None:
        self._turn("parallel")
        self.parallel.show(frame, names, metric_label=metric_label, better=better)

    def show_picture(self, png: bytes, note: str = "") -> None:
        self._turn("picture")
        self.picture.value, self.picture.tooltip = png, f"{self.kind.label} of {self.scope.label}"
        self._say(note)

    def show_patience(self, png: bytes, text: str, patience: int | None) -> None:
        """The advice on early stopping. patience: what "Use it" puts into the controls, None for nothing."""
        self.show_picture(png, text)
        self._patience = patience or 0
        show(self.use, patience is not None)

    def show_note(self, text: str) -> None:
        """Show a note above the comparison."""
        self._say(text)

    def show_error(self, text: str) -> None:
        """Show an error above the comparison."""
        self._say(text, "error", "alert")

    def show_leaderboard(self, board: pd.DataFrame, metric_label: str, left_out: int) -> None:
        """left_out: how many trials are not in it, since they did not run to their end."""
        self._turn("text")
        was = "was" if left_out == 1 else "were"
        note = f"{counted(left_out, 'trial')} that {was} stopped, pruned, failed or diverged {was} left out."
        self.text.value = _board(board, metric_label) + (f'<div class="wb-hint">{note}</div>' if left_out else "")
        self.add.disabled = self.build.disabled = board.empty

    def show_problem(self, text: str) -> None:
        """Nothing to show, and why."""
        self._turn("")
        self._say(text)

    def show_edges(self, found: Sequence[RangeEdge]) -> None:
        """Warn of searched ranges whose best configurations lie at an end, each with a button that widens it."""
        if list(found) == self._bordered:
            return
        self._bordered = list(found)
        rows = []
        for one in found:
            button = make(
                widgets.Button, description=f"Widen {one.name.replace('_', ' ')}", icon="arrows-h", classes="wb-widen"
            )
            button.on_click(lambda _, one=one: self._widen(one))
            words = make(widgets.HTML, f'<span class="wb-warning">{html.escape(str(one))}</span>')
            rows.append(make(widgets.Box, [words, button], classes="wb-edge"))
        self.edges.children = tuple(rows)

    def _say(self, text: str, kind: str = "note", role: str = "note") -> None:
        self.note.value = f'<div class="wb-{kind}" role="{role}">{html.escape(text)}</div>' if text else ""

    def _turn(self, part: str) -> None:
        if part != self._part:  # a sentence on what is shown stays while that is brought up to date
            self._say("")
        self._part = part
        show(self.use, False)
        for name, widget in (
            ("parallel", self._coordinates),
            ("picture", self.picture),
            ("text", self.text),
            ("text", self._seeds),
        ):
            show(widget, name == part)

    def _ask(self, _: object) -> None:
        show(self._axes, self.kind.value == "scatter")
        if not self._quiet:
            self._request(self.chosen)


def _board(board: pd.DataFrame, metric_label: str) -> str:
    """The leaderboard as an HTML table; all text escaped."""
    if board.empty:
        return '<div class="wb-hint">No trial has run to its end yet.</div>'
    configurations = list(board.columns[board.columns.get_loc("tied") + 1 :])[:6]
    heads = [
        "",
        "trial",
        "seeds",
        html.escape(metric_label),
        "95% interval",
        "against the best",
        *(["test"] if "test_set" in board else []),
        *(html.escape(n.replace("_", " ")) for n in configurations),
    ]
    rows = []
    best = None
    for row in board.to_dict("records"):
        ensemble = row.get("ensemble", pd.NA)
        interval = f"{rounded(row['low'])} to {rounded(row['high'])}" if math.isfinite(row["low"]) else "needs 2 seeds"
        if not pd.isna(ensemble):
            row |= {"trial": f"ensemble {ensemble}", "seeds": ""}
            known = math.isfinite(row["corrected"])
            verdict = f"expect {rounded(row['corrected'])} on new rows" if known else "members chosen by hand"
        elif best is None:
            best = row["trial"]
            verdict = "best" if row["rank"] == 1 else "best configuration"
        elif not math.isfinite(row["p_value"]):
            verdict = "unknown: needs more seeds"
        else:
            verdict = f"{'no significant difference' if row['tied'] else 'worse'} (p = {row['p_value']:.2g})"
        cells = [str(row["rank"]), str(row["trial"]), str(row["seeds"]), rounded(row["mean"]), interval, verdict]
        if "test_set" in board:
            cells.append(f"{rounded(row['test_metric'])}, {row['test_set']}" if row["test_set"] else "")
        cells += [_short(row[name]) for name in configurations]
        kind = "" if row["tied"] else ' class="wb-worse"'
        rows.append(f"<tr{kind}>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{text}</th>" for text in heads)
    return f'<table class="wb-leaderboard"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _short(value: object) -> str:
    """A value for a cell, blank where there is none."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class BuiltEnsemble(Protocol):
    """What the tab shows of an ensemble that it has had built."""

    @property
    def number(self) -> int | None: ...
    @property
    def description(self) -> list[str]: ...


class CompareBench(Bench, Protocol):
    """What the tab asks of a workbench."""

    def ensemble(self, *arguments: Any, **options: Any) -> BuiltEnsemble: ...
    def suggest_patience(self) -> PatienceAdvice: ...


class CompareTab(TabBody):
    """The compare tab: what its buttons do, and what it reads."""

    def __init__(self, presenter: Presenter, bench: CompareBench) -> None:
        self._presenter, self._bench, self._reads = presenter, bench, Reads.of(presenter.session)
        self.chosen = Selection()
        view = presenter.shown

        def ask(action: Callable[..., object], *arguments: object) -> None:
            presenter.dispatch.ask(action, *arguments, show=self.panel.show_error)

        self.panel = ComparePanel(
            self._ask_for,
            lambda trials: ask(view.select_trials, trials),
            lambda top, seeds: ask(bench.add_seeds, top, seeds),
            lambda edge: ask(view.search_in, edge.name, edge.wider),
            lambda size, select: ask(self.build_ensemble, size, select),
            lambda patience: ask(lambda: view.put(patience=patience)),
        )
        super().__init__(self.panel.widget)

    @property
    def cheap(self) -> bool:
        return self.chosen.kind in ("parallel", "leaderboard")

    def refresh(self) -> None:
        """Read and show the present choice."""
        panel, chosen, reads = self.panel, self.chosen, self._reads
        searches = [(label, number) for label, number, first, _ in listed_searches(reads) if first]
        panel.offer(searches, varied(reads.trials(last=TABLE_TRIALS), conditional=True))
        try:
            panel.show_edges(reads.range_edges(None))
            if chosen.kind == "leaderboard":
                left_out = reads.log.results.cut_off(reads.task.fingerprint, reads.task.metric)
                panel.show_leaderboard(reads.leaderboard_with_configurations(20), reads.metric_label, left_out)
            elif chosen.kind == "patience":
                advice = self._bench.suggest_patience()
                panel.show_patience(advice._repr_png_(), advice.reason, advice.suggestion)
            elif chosen.kind == "parallel":
                frame = reads.trials_of(chosen.search, last=None if chosen.search else TABLE_TRIALS)
                panel.show_parallel(
                    frame, varied(frame, conditional=True), metric_label=reads.metric_label, better=reads.better
                )
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # the figure says it
                    names = (chosen.x, chosen.y) if chosen.kind == "scatter" and chosen.x and chosen.y else ()
                    panel.show_picture(reads.plot(chosen.kind, names, chosen.search, None)._repr_png_())
        except WorkbenchError as error:
            panel.show_problem(str(error))

    def build_ensemble(self, size: int, select: str | None) -> None:
        """Make an ensemble of the best configurations, or of so many votes, and show it in the leaderboard."""
        dispatch, bench, panel = self._presenter.dispatch, self._bench, self.panel
        if dispatch.background.busy("ensemble"):
            return  # a double click
        options = {"top": size} if select is None else {"select": select, "size": size}
        panel.show_note("Measuring the members and their optimism …")

        def then(made: Any, error: Exception | None) -> None:
            self.refresh()
            if error is not None:
                dispatch.fail(panel.show_error, error)
            else:
                panel.show_note(" ".join([f"Ensemble {made.number}:", *made.description]))

        dispatch.background.submit("ensemble", lambda: bench.ensemble(**options), then)

    def _ask_for(self, chosen: Selection) -> None:
        self.chosen = chosen
        self._presenter.look_again()


COMPARE = Tab("Compare", CompareTab, CompareTab.refresh)
