"""The diagnosis of a trial: verdict, evidence, and a prescription to try for each finding. It shows what it is given."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import ipywidgets as widgets

from workbench.methods.diagnosis.case import HEALTHY, Finding, RuleFindings
from workbench.ui.bench import Bench
from workbench.ui.parts import error_text, make, show
from workbench.ui.pictures import DescribedImage
from workbench.ui.presenter import Presenter
from workbench.ui.tab import Tab, TabBody

if TYPE_CHECKING:
    from workbench.methods.diagnosis.diagnose import Diagnosis

__all__ = ["DIAGNOSE", "DiagnosisPanel", "DiagnosisTab"]

JUDGED_SECONDS = 4.0
"""A trial in training is diagnosed again at most this often."""

HINT = "Select a trial in the table to have it diagnosed."


class DiagnosisPanel:
    """try_it: called with the trial and the rule whose button was pressed; must only enqueue."""

    def __init__(self, try_it: Callable[[int, str], None]) -> None:
        self._try_it = try_it
        self.trial: int | None = None
        self._failed: int | None = None  # the trial whose error is on show
        self.verdict = make(widgets.HTML, classes="wb-diagnosis-verdict")
        self.cards: list[_Card] = []
        self._findings = make(widgets.VBox, [], classes="wb-diagnosis-findings")
        self.picture = make(DescribedImage, classes="wb-picture", hidden=True)
        self.notes = make(widgets.HTML, classes="wb-message")
        # the state has a line of its own that is always there, so that nothing moves when it comes and goes
        self.state = make(widgets.HTML, classes="wb-diagnosis-state")
        self.error = make(widgets.HTML, classes="wb-message")
        self.widget = make(
            widgets.VBox,
            [self.state, self.error, self.verdict, self._findings, self.picture, self.notes],
            classes="wb-diagnosis",
        )
        self._say(HINT)

    def show(self, found: RuleFindings, png: bytes) -> None:
        """A diagnosis and its figure."""
        self.trial = found.trial
        if self._failed != found.trial:
            self._refuse("")
        well = found.verdict == HEALTHY
        kind = "wb-good" if well else "wb-verdict wb-ill"
        mark = "&#10003;" if well else "&#9888;"
        title = html.escape(found.title[:1].upper() + found.title[1:])
        self.verdict.value = f'<div class="{kind}" role="status">{mark} <b>{title}</b></div>'
        while len(self.cards) < len(found.findings):
            self.cards.append(_Card(self._press))
        if len(self._findings.children) != len(self.cards):
            self._findings.children = tuple(card.widget for card in self.cards)
        for place, card in enumerate(self.cards):
            finding = found.findings[place] if place < len(found.findings) else None
            card.show(found.trial, finding, first=place == 0)
        if self.picture.value != png:
            self.picture.value, self.picture.tooltip = png, f"Learning curves and measurements of trial {found.trial}"
        show(self.picture, True)
        lines = "".join(f"<div>{html.escape(note)}</div>" for note in found.notes)
        self.notes.value = f'<div class="wb-note" role="note">{lines}</div>' if lines else ""
        self._say(f"Diagnosis of trial {found.trial}")

    def show_problem(self, text: str = HINT) -> None:
        """Nothing to show, and why."""
        self.trial = None
        self._refuse("")
        self.verdict.value = self.notes.value = ""
        for card in self.cards:
            card.show(0, None, first=False)
        show(self.picture, False)
        self._say(text)

    def busy(self, text: str) -> None:
        """Something is on its way ("reading trial 7…"); what is shown stays, and its buttons wait."""
        self._refuse("")
        for card in self.cards:
            card.button.disabled = True
        self._say(text)

    def show_error(self, trial: int, text: str) -> None:
        """Why what was prescribed for a trial could not be started: until the next click, or until another trial is shown."""
        self._failed = trial
        self._refuse(text)
        for card in self.cards:
            card.button.disabled = False
        self._say("" if self.trial is None else f"Diagnosis of trial {self.trial}")

    # ----------------------------------------------------------------------------------------------------------------

    def _press(self, rule: str) -> None:
        if self.trial is not None:
            self._try_it(self.trial, rule)

    def _refuse(self, text: str) -> None:
        text_of_error = f'<div class="wb-error" role="alert">{html.escape(text)}</div>' if text else ""
        if self.error.value != text_of_error:
            self.error.value = text_of_error

    def _say(self, text: str) -> None:
        self.state.value = f'<span class="wb-hint" role="status">{html.escape(text)}</span>'


class _Card:
    """One finding: evidence, prescription, the call that does it, and its button. press: called with the rule."""

    def __init__(self, press: Callable[[str], None]) -> None:
        self._rule = ""
        self._press = press
        self.words = make(widgets.HTML, classes="wb-diagnosis-words")
        self.button = make(widgets.Button, description="Try it", icon="flask", classes="wb-train")
        self.button.on_click(self._pressed)
        self.record = make(widgets.HTML, classes="wb-diagnosis-record")
        buttons = make(widgets.Box, [self.button], classes="wb-buttons")
        row = make(widgets.Box, [buttons, self.record], classes="wb-toprow")
        self.widget = make(widgets.VBox, [self.words, row], classes="wb-diagnosis-card")

    def show(self, trial: int, finding: Finding | None, *, first: bool) -> None:
        show(self.widget, finding is not None)
        if finding is None:
            return
        self._rule = finding.rule
        given = finding.prescription
        head = "" if first else f"<b>Also: {html.escape(finding.title)}</b>"
        evidence = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in finding.evidence)
        call = f'<pre class="wb-call">{html.escape(given.code(trial))}</pre>' if given.can_be_tried else ""
        self.words.value = (
            f'{head}<ul class="wb-diagnosis-evidence">{evidence}</ul>'
            f"<div>To {'try' if given.can_be_tried else 'do'}: {html.escape(given.description)}</div>{call}"
        )
        show(self.button, given.can_be_tried)
        self.button.tooltip = f"{given.description[:1].upper()}{given.description[1:]}; the log keeps whether it helped"
        self.button.disabled = False
        text = finding.record or ("not tried in this log yet" if given.can_be_tried else "")
        self.record.value = f'<span class="wb-hint">{html.escape(text)}</span>'

    def _pressed(self, _: object) -> None:
        self._press(self._rule)


class DiagnosisBench(Bench, Protocol):
    """What the tab asks of a workbench."""

    def diagnose(self, trial: int) -> Diagnosis: ...
    def try_it(self, diagnosis: int, rule: str) -> object: ...


class DiagnosisTab(TabBody):
    """The diagnosis of the trial in view, diagnosed again when something has changed."""

    def __init__(self, presenter: Presenter, bench: DiagnosisBench) -> None:
        self._presenter, self._bench, self._background = presenter, bench, presenter.dispatch.background
        self._diagnosed: tuple[Any, ...] | None = None
        self._judged_at = 0.0
        self._behind = False  # whether something changed while another diagnosis was running
        self.panel = DiagnosisPanel(lambda trial, rule: presenter.dispatch.ask(self.try_it, trial, rule))
        super().__init__(self.panel.widget)

    def tick(self, *, in_front: bool) -> None:
        if self._behind and in_front and not self._background.busy("diagnosis"):
            self.refresh()

    def refresh(self) -> None:
        """Diagnose the trial in view again if it, or a prescription, has changed since the last time."""
        trial, panel, bench, session = self._presenter.trial_in_view(), self.panel, self._bench, self._presenter.session
        if trial is None:
            self._diagnosed = None
            panel.show_problem()
            return
        run = session.run_of(trial)
        going = run is not None and not run.done
        now = time.monotonic()
        results, task = session.log.results, session.task
        state = (trial, going, results.count(task.fingerprint), len(results.scores(task.fingerprint, task.metric)))
        fresh = state == self._diagnosed and not (going and now - self._judged_at > JUDGED_SECONDS)
        self._behind = not fresh and self._background.busy("diagnosis")
        if fresh or self._behind:
            return
        if self._diagnosed is None or self._diagnosed[0] != trial:
            panel.busy(f"Looking at trial {trial} …")

        def work() -> tuple[Any, bytes]:
            found = bench.diagnose(trial)
            return found, found.figure()._repr_png_()

        def then(found: Any, error: Exception | None) -> None:
            self._diagnosed, self._judged_at = state, time.monotonic()
            if error is not None:
                panel.show_problem(error_text(error))
            else:
                panel.show(*found)

        self._background.submit("diagnosis", work, then)

    def try_it(self, trial: int, rule: str) -> None:
        """Start what a rule prescribes. The trial is diagnosed again first, because the prescription may have changed."""
        if self._background.busy("try-it"):
            return  # a double click
        bench, panel = self._bench, self.panel
        panel.busy("Starting what is prescribed …")

        def then(run: Any, error: Exception | None) -> None:
            if error is not None:
                self._presenter.dispatch.fail(lambda text: panel.show_error(trial, text), error)
            else:
                self._diagnosed = None  # diagnosed at the next refresh

        self._background.submit("try-it", lambda: bench.try_it(trial, rule), then)


DIAGNOSE = Tab("Diagnose", DiagnosisTab, DiagnosisTab.refresh, follows_selection=True, diagnoses=True)
