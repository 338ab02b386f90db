"""The search tab: strategy, budget, pruner, and what will be searched."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import ipywidgets as widgets

from workbench.core.config import Config
from workbench.core.domains import Domain
from workbench.core.errors import ConfigError, Problem
from workbench.core.space import Space
from workbench.methods.comparison.reads import Reads, listed_searches
from workbench.methods.range_test.panel import RangeBench, RangePart
from workbench.methods.search.options import DEFAULTS
from workbench.methods.search.strategies import PRUNERS, STRATEGIES
from workbench.training import unstackable_fields
from workbench.ui.late import Late
from workbench.ui.parts import labelled, make, offer
from workbench.ui.presenter import Presenter
from workbench.ui.tab import Tab, TabBody

__all__ = ["SEARCH", "SearchPanel", "SearchTab", "search_call"]

KEPT = ("pruner", "seeds", "seed", "points")
"""What a search takes over from the one that it continues."""
NEW = ("a new search", 0)  # a menu shows no label for None


class SearchPanel:
    """Reads the options of a search; the space itself is in the controls. changed: called after each change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.strategy = make(
            widgets.Dropdown, options=[(entry.label, name) for name, entry in STRATEGIES.items()], value="random",
            tooltip="How the next configurations are chosen",
        )  # fmt: skip
        self.pruner = make(
            widgets.Dropdown, options=[("none", ""), *((entry.label, name) for name, entry in PRUNERS.items())], value="",
            tooltip="Which trials end early",
        )  # fmt: skip
        self.trials = self._number("64", "number of configurations to try; empty: no limit")
        self.seconds = self._number("", "seconds after which no new configuration starts; empty: no limit")
        self.no_improvement = self._number(
            "", "stop after this number of configurations without a better one; empty: no limit"
        )
        self.seeds = self._number(str(DEFAULTS["seeds"]), "replicates of each configuration, trained together")
        self.points = self._number(str(DEFAULTS["points"]), "number of grid values for each range")
        self.seed = self._number(
            str(DEFAULTS["seed"]), "seed of the strategy: the same seed draws the same configurations"
        )
        self.continues = make(
            widgets.Dropdown, options=[NEW], value=0, tooltip="Start a new search, or continue an earlier one"
        )
        self._earlier: dict[int, Mapping[str, Any]] = {}
        self.continues.observe(lambda change: self._load(change["new"]), "value")
        self.start = make(
            widgets.Button,
            description="Search",
            icon="search",
            classes="wb-train",
            tooltip="Search the space in the controls",
        )
        self.message = make(widgets.HTML, classes="wb-message")
        self.about = make(widgets.HTML, classes="wb-about")
        self.summary = make(widgets.HTML, classes="wb-space")
        for control in (
            self.strategy, self.pruner, self.trials, self.seconds, self.no_improvement, self.seeds, self.points, self.seed,
            self.continues,
        ):  # fmt: skip
            control.observe(lambda _: changed(), "value")
        grid = make(
            widgets.Box,
            [
                labelled("strategy", self.strategy), labelled("pruner", self.pruner), labelled("trials", self.trials),
                labelled("seconds", self.seconds), labelled("no better for", self.no_improvement),
                labelled("seeds", self.seeds), labelled("grid points", self.points), labelled("draw seed", self.seed),
                labelled("start", self.continues),
            ],
            classes="wb-search-grid",
        )  # fmt: skip
        row = make(
            widgets.Box, [make(widgets.Box, [self.start], classes="wb-buttons"), self.summary], classes="wb-search-row"
        )
        self.widget = make(widgets.VBox, [grid, self.about, row, self.message], classes="wb-search")

    def options(self) -> dict[str, Any]:
        """The arguments of `bench.search` besides space and base. Raises: ConfigError naming the field."""
        found: dict[str, Any] = {"strategy": self.strategy.value, "pruner": self.pruner.value or None}
        problems = []
        for name, kind in (
            ("trials", int), ("seconds", float), ("no_improvement", int), ("seeds", int), ("points", int), ("seed", int),
        ):  # fmt: skip
            text = getattr(self, name).value.strip()
            try:
                found[name] = kind(text) if text else None
            except ValueError:
                problems.append(Problem(name, text, f"{name}={text!r}: must be a number, or empty"))
        if problems:
            raise ConfigError(problems)
        for name in ("seeds", "points", "seed"):
            found[name] = DEFAULTS[name] if found[name] is None else found[name]
        if self.continues.value:
            found["continues"] = self.continues.value
        return found

    def describe(self, space: Mapping[str, Domain] | ConfigError, base: Config | None) -> None:
        """Describe what would be searched: the space, and the number of points of a grid."""
        self.start.description = "Continue" if self.continues.value else "Search"
        strategy = STRATEGIES[self.strategy.value]
        pruner = PRUNERS.get(self.pruner.value)
        words = [f"<b>{html.escape(strategy.label)}</b>: {html.escape(strategy.meaning)}"]
        if pruner is not None:
            words.append(f"<b>{html.escape(pruner.label)}</b>: {html.escape(pruner.meaning)}")
        self.about.value = f'<div class="wb-hint">{"<br>".join(words)}</div>'
        self.start.disabled = True
        if isinstance(space, ConfigError):
            self.summary.value = f'<div class="wb-error">{html.escape(str(space))}</div>'
            return
        if not space or base is None:
            self.summary.value = (
                '<div class="wb-hint">Choose what to search: press <i class="fa fa-search"></i> next to a hyperparameter on '
                "the left, and give it a range or a set of choices.</div>"
            )
            return
        try:
            checked = Space(space, base)
            names = ", ".join(name.replace("_", " ") for name in checked)
            text = f"Searches {html.escape(names)}; the controls set everything else."
            for name in unstackable_fields(base, checked):
                text += (
                    f" {html.escape(name.replace('_', ' ').capitalize())} is shared by all trials that train together. Drawn "
                    "from a range, each configuration trains alone, which is slow; search a few values instead."
                )
            if self.continues.value:
                text += f" Continues search {self.continues.value} with further configurations."
            if self.strategy.value == "grid":
                points = self.options()["points"]
                text += f" <b>{checked.grid_size(points):,} grid points</b>."
                checked.grid(points)
        except ConfigError as error:
            self.summary.value = f'<div class="wb-error">{html.escape(str(error))}</div>'
            return
        self.summary.value = f'<div class="wb-hint">{text}</div>'
        self.start.disabled = False

    def offer(self, searches: list[tuple[str, int]], options: Mapping[int, Mapping[str, Any]]) -> None:
        """The earlier searches that can be continued: label and number, and by number the options of each."""
        self._earlier = dict(options)
        offer(self.continues, [NEW, *searches])

    def _load(self, number: int) -> None:
        """Show the options of the search that is to be continued."""
        options = self._earlier.get(number, {})
        for name, menu in (("strategy", STRATEGIES), ("pruner", PRUNERS)):
            value = options.get(name, getattr(self, name).value)
            getattr(self, name).value = value if value in menu else DEFAULTS[name] or ""
        for name in ("seeds", "seed", "points"):
            if name in options:
                getattr(self, name).value = str(int(options[name]))

    def show_error(self, text: str) -> None:
        """Show an error under the button; "" removes it."""
        self.message.value = f'<div class="wb-error" role="alert">{html.escape(text)}</div>' if text else ""

    def _number(self, value: str, tooltip: str) -> Any:
        return make(
            widgets.Text, value, tooltip=tooltip, continuous_update=False, placeholder="no limit", classes="wb-number"
        )


def search_call(space: Space, options: Mapping[str, Any], *, name: str = "", device: str = "cpu") -> str:
    """The call of `bench.search` as text; what is at its default is left out, unless an earlier search may have another value."""
    arguments = [repr(options["strategy"]), repr(space), repr(space.base)]
    kept = KEPT if "continues" in options else ()
    for key, value in options.items():
        if key != "strategy" and (value != DEFAULTS.get(key) or key in kept):
            arguments.append(f"{key}={value!r}")
    if name:
        arguments.append(f"name={name!r}")
    if device != "cpu":
        arguments.append(f"device={device!r}")
    return f"search = bench.search({', '.join(arguments)})"


class SearchBench(RangeBench, Protocol):
    """What the tab asks of a workbench."""

    def search(self, *arguments: Any, **options: Any) -> object: ...


class SearchTab(TabBody):
    """The search tab: a search of the space in the controls, and below it the learning-rate range test."""

    def __init__(self, presenter: Presenter, bench: SearchBench) -> None:
        self._presenter, self._bench, self._view = presenter, bench, presenter.shown
        self.panel = SearchPanel(self._view.refresh_code)
        self.panel.start.on_click(lambda _: presenter.dispatch.ask(self._search, show=self.panel.show_error))
        self._range = Late(lambda: RangePart(presenter, bench))
        super().__init__(make(widgets.VBox, [self.panel.widget, self._range.widget], classes="wb-search"))

    @property
    def range(self) -> RangePart:
        """The range test below, made now if it is not there yet."""
        return self._range.part

    def refresh(self) -> None:
        """Offer the earlier searches to continue."""
        _ = self.range  # made when the tab is first shown
        reads = Reads.of(self._presenter.session)
        searches = [(label, number) for label, number, _, own in listed_searches(reads) if own]
        table = reads.log.searches.table().set_index("search") if searches else None
        names = ("strategy", *KEPT)
        options = {} if table is None else {number: dict(table.loc[number, list(names)]) for _, number in searches}
        self.panel.offer(searches, options)

    def tick(self, *, in_front: bool) -> None:
        if self._range.made:
            self.range.tick(in_front=in_front)

    def configured(self, config: Config | ConfigError, *, in_front: bool) -> list[str]:
        if isinstance(config, ConfigError):
            self.panel.describe(config, None)
            return []
        try:
            space = self._view.controls.space()
            self.panel.describe(space, config)
            return [search_call(Space(space, config), self.panel.options(), **self._view.about())] if space else []
        except ConfigError as error:
            self.panel.describe(error, config)
            return []

    def _search(self) -> None:
        self.panel.show_error("")
        controls = self._view.controls
        space, base, options = controls.space(), controls.read(), self.panel.options()
        if not space and "continues" not in options:
            message = "press the magnifier next to a hyperparameter to search it"
            raise ConfigError([Problem("space", space, f"there is nothing to search: {message}")])
        self._bench.search(space=space or None, base=base, **options, **self._view.about())


SEARCH = Tab("Search", SearchTab, SearchTab.refresh, early=True, searches=True)
