"""Fine-tuning in the user interface: which trial to start from, what stays frozen, and the button."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import ipywidgets as widgets

from workbench.core.config import Config
from workbench.core.errors import ConfigError, Problem
from workbench.core.text import rounded
from workbench.methods.comparison.reads import Reads
from workbench.ui.bench import Bench
from workbench.ui.parts import labelled, make, number_of, offer
from workbench.ui.presenter import Presenter
from workbench.ui.tab import TabBody

__all__ = ["FinetuneBench", "FinetunePart", "TransferPanel", "finetune_call"]

ABOUT = (
    "Take the layers of a trained trial, add a new head, and continue training on this task. The trial may be of another task "
    "whose inputs have the same shape. The controls on the left set everything else."
)
ALL_BUT_THE_HEAD = "all but the head"
SOURCES = 5
"""Of each task, so many of its best trials are offered to start from."""
UNKNOWN_GROUPS = 4
"""So many groups of layers are offered where it is not known what there are."""
NONE = "There is no trained trial to start from yet."


class TransferPanel:
    """Asks for a fine-tuning. start: called by the button; what is asked for is in `source` and `options()`. changed: after each
    change of a control. chosen: when another trial was chosen to start from, for `offer_groups`."""

    def __init__(
        self, start: Callable[[], object], changed: Callable[[], object], chosen: Callable[[], object]
    ) -> None:
        self.source = make(widgets.Dropdown, options=[], tooltip="The trial whose layers are reused")
        self.freeze = make(
            widgets.Dropdown, options=_freezing(()), tooltip="Layers, counted from the input, that keep their weights"
        )
        self.factor = self._number("0.1", "Learning rate of the layers nearest the input, as a share of the head's")
        self.unfreeze_at = self._number("", "Epoch after which every layer trains; empty: never")
        for control in (self.source, self.freeze, self.factor, self.unfreeze_at):
            control.observe(lambda _: changed(), "value")
        self.source.observe(lambda _: chosen(), "value")
        self.button = make(
            widgets.Button,
            description="Fine-tune",
            icon="leaf",
            classes="wb-train",
            tooltip="Continue training from this trial",
        )
        self.button.on_click(lambda _: start())
        grid = make(
            widgets.Box,
            [
                labelled("from", self.source), labelled("frozen", self.freeze), labelled("rate factor", self.factor),
                labelled("unfreeze after", self.unfreeze_at),
            ],
            classes="wb-search-grid wb-transfer-grid",
        )  # fmt: skip
        about = make(widgets.HTML, f'<div class="wb-hint">{html.escape(ABOUT)}</div>', classes="wb-about")
        self.message = make(widgets.HTML, classes="wb-message")
        row = make(
            widgets.Box, [make(widgets.Box, [self.button], classes="wb-buttons"), self.message], classes="wb-search-row"
        )
        heading = make(widgets.HTML, '<div class="wb-heading">Fine-tuning</div>')
        self.widget = make(widgets.VBox, [heading, about, grid, row], classes="wb-search")
        self.show([])

    def show(self, sources: Sequence[tuple[str, int]]) -> None:
        """The trials to start from, as (label, number)."""
        offer(self.source, sources)
        self.button.disabled = not sources
        if not sources:
            self._say("wb-hint", NONE)
        elif NONE in self.message.value:
            self.message.value = ""

    def offer_groups(self, groups: Sequence[str]) -> None:
        """The groups of layers of the chosen trial, from the input on; none where they are not known."""
        offer(self.freeze, _freezing(groups))

    def busy(self, text: str) -> None:
        """What is being done; "" when it is done."""
        self._say("wb-note", text)

    def show_problem(self, text: str) -> None:
        self._say("wb-error", text)

    def options(self) -> dict[str, Any]:
        """The options of `bench.finetune`. Raises: ConfigError naming the field."""
        factor, unfreeze = self.factor.value.strip(), self.unfreeze_at.value.strip()
        found: dict[str, Any] = {"freeze": self.freeze.value}
        for name, text, empty in (("learning_rate_factor", factor, 0.1), ("unfreeze_at", unfreeze, None)):
            found[name] = number_of(text) if text else empty
            if isinstance(found[name], str):
                raise ConfigError([Problem(name, text, f"{name}={text!r}: must be a number, or empty")])
        return found

    def _say(self, kind: str, text: str) -> None:
        role = "alert" if kind == "wb-error" else "note"
        self.message.value = f'<div class="{kind}" role="{role}">{html.escape(text)}</div>' if text else ""

    def _number(self, value: str, tooltip: str) -> Any:
        return make(
            widgets.Text, value, tooltip=tooltip, continuous_update=False, placeholder="never", classes="wb-number"
        )


def _freezing(groups: Sequence[str]) -> list[tuple[str, str | int]]:
    """The choices of what to freeze, as (label, value). groups: by name, from the input on; none where they are not known."""
    if groups:
        parts = [(f"{n} of {len(groups)}, up to {name}", n) for n, name in enumerate(groups[:-1], 1)]
    else:
        parts = [(f"the first {n}", n) for n in range(1, UNKNOWN_GROUPS + 1)]
    return [(ALL_BUT_THE_HEAD, ALL_BUT_THE_HEAD), ("nothing", 0), *parts]


def finetune_call(trial: int, options: dict[str, Any], config: Config) -> str:
    """The call of `bench.finetune` as text; what is at its default is left out."""
    defaults = {
        "freeze": ALL_BUT_THE_HEAD, "learning_rate_factor": 0.1, "unfreeze_at": None, "seeds": 1, "name": "", "device": "cpu",
    }  # fmt: skip
    given = [f"{name}={value!r}" for name, value in options.items() if value != defaults[name]]
    return f"run = bench.finetune({', '.join([f'from_trial={trial}', f'config={config!r}', *given])})"


class FinetuneBench(Bench, Protocol):
    """What the part asks of a workbench."""

    def finetune(self, *arguments: Any, **options: Any) -> object: ...


class FinetunePart(TabBody):
    """The panel with what its button does: a part of the transfer tab."""

    def __init__(self, presenter: Presenter, bench: FinetuneBench) -> None:
        self._presenter, self._bench, self._reads = presenter, bench, Reads.of(presenter.session)
        self._grouped: int | None = None  # the trial whose groups of layers are on offer
        view = presenter.shown
        self.panel = TransferPanel(
            lambda: presenter.dispatch.ask(self._start, show=self.panel.show_problem),
            view.refresh_code,
            presenter.look_again,
        )
        super().__init__(self.panel.widget)

    def refresh(self) -> None:
        """Offer trials to start from, and what can be frozen of the one that is chosen."""
        sources = []
        for row in self._reads.origins(SOURCES).itertuples(index=False):
            where = "" if row.own else f" on {row.task}"
            sources.append(
                (f"trial {row.trial}{where} ({row.metric} {rounded(row.best_val_metric, 4)})", int(row.trial))
            )
        self.panel.show(sources)
        self._offer_groups()

    def finetune(self, trial: int, config: Config, options: dict[str, Any]) -> None:
        """Fine-tune a trial with the configuration in the controls; its weights may have to be trained again first."""
        dispatch, bench, panel = self._presenter.dispatch, self._bench, self.panel
        panel.busy(f"Loading the layers of trial {trial} …")

        def then(run: Any, error: Exception | None) -> None:
            if error is not None:
                dispatch.fail(panel.show_problem, error)
            else:
                panel.busy("")

        dispatch.background.submit("finetune", lambda: bench.finetune(from_trial=trial, config=config, **options), then)

    def _start(self) -> None:
        view, panel = self._presenter.shown, self.panel
        options = {**panel.options(), "seeds": view.panel.seeds.value, **view.about()}
        self.finetune(panel.source.value, view.controls.read(), options)

    def _offer_groups(self) -> None:
        """Name what can be frozen of the trial that is chosen to start from; its model is built for it, at the side."""
        panel, reads = self.panel, self._reads
        trial = panel.source.value
        if trial is None or trial == self._grouped:
            return
        self._grouped = trial

        def then(groups: list[str] | None, error: Exception | None) -> None:
            if panel.source.value == trial:
                panel.offer_groups(groups or [])

        self._presenter.dispatch.background.submit("groups", lambda: reads.layer_groups(trial), then)
