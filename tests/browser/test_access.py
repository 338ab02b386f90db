"""The workbench without a mouse, and for those who do not see it: keys, focus, names and contrast, in a real JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
from playwright.sync_api import expect

from tools.lab import Lab, Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

COMMAND_KEYS = [
    *"abcdefhijkmnopqrsvxyz", *"0123456", "d", "d", "0", "0", "i", "i", "ArrowUp", "ArrowDown", "Home", "End", "Delete",
    *(f"Shift+{letter}" for letter in "ACDFHIJKLMNOPRSVXZ"), "Shift+ArrowUp", "Shift+ArrowDown",
]  # fmt: skip
"""Of JupyterLab, apart from those that this workbench gives a meaning of its own, and from those below."""
ON_CONTROLS = ["Enter", "Space"]
"""They press a button, so that they are tried where they do no harm."""
WITHIN = "document.querySelector('.wb-root').contains(document.activeElement)"
STATE = """() => ({
    // the text of a cell that is scrolled out of sight is not in the page
    cells: [...document.querySelectorAll('.jp-Cell')].map(cell => cell.className.match(/jp-\\w+Cell/)[0]),
    edited: document.querySelectorAll('.jp-Notebook.jp-mod-editMode').length,
    active: [...document.querySelectorAll('.jp-Cell')].findIndex(cell => cell.classList.contains('jp-mod-active')),
    selected: document.querySelectorAll('.jp-Cell.jp-mod-selected').length,
    hidden: document.querySelectorAll('.jp-Placeholder, .jp-Dialog').length,
    numbers: document.querySelectorAll('.cm-lineNumbers').length,
    scrolled: document.querySelectorAll('.jp-mod-outputsScrolled').length,
})"""


@pytest.fixture(scope="module")
def notebook(server: Lab) -> Iterator[Notebook]:
    """A workbench on iris that trained two trials, between two other cells."""
    cells = ["1 + 1", "import workbench as wb\nwb.Workbench(wb.Task.load('iris'))", "2 + 2"]
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(made, server.folder / "access.ipynb")
    opened = server.open("access.ipynb")
    opened.run_cells(2)
    opened.expect_status("Nothing trained yet")
    yield opened
    server.leave()
    assert not opened.problems


def focus_after_reset(notebook: Notebook) -> None:
    """Put the focus on the root, as a click beside the controls does: the place from which Tab enters the workbench."""
    notebook.root.evaluate("root => root.focus()")


def test_trained_from_the_keyboard_alone(notebook: Notebook) -> None:
    page, keys = notebook.page, notebook.page.keyboard
    notebook.type_number("epochs", "2")

    # the first Tab offers a way to Train
    focus_after_reset(notebook)
    keys.press("Tab")
    expect(page.locator(":focus")).to_have_text("Go to Train")
    keys.press("Enter")
    expect(page.locator(":focus")).to_have_class(re.compile("wb-train"))
    keys.press("Enter")
    notebook.expect_status("Trial 1 completed")

    # Enter trains from a field, with what was typed there; the first one is five Tabs from outside
    focus_after_reset(notebook)
    for _ in range(5):
        keys.press("Tab")
    expect(page.locator("input:focus")).to_have_attribute("aria-label", "learning rate")
    keys.press("Control+a")
    keys.type("0.02")
    keys.press("Enter")
    notebook.expect_status("Trial 2 completed")
    notebook.open_tab("Code")
    expect(notebook.root.locator(".wb-tabs")).to_contain_text("learning_rate=0.02")
    notebook.open_tab("Trials")

    # while a run is active, Enter applies a value and trains nothing else; T would
    notebook.type_number("epochs", "50000")
    notebook.root.locator(".wb-panel .wb-train").focus()
    keys.press("t")
    notebook.expect_status("Trial 3 running")
    keys.press("l")
    expect(notebook.number("learning_rate")).to_have_count(1)
    page.locator('[aria-label="learning rate"][type=text]').fill("0.03")
    keys.press("Enter")
    notebook.root.locator(".wb-panel .wb-train").focus()
    keys.press("p")
    notebook.expect_status("Trial 3 paused")
    assert "waiting" not in notebook.expect_status("Trial 3 paused")
    keys.press("s")
    notebook.expect_status("Trial 3 stopped")
    notebook.type_number("epochs", "2")


def test_no_plain_key_reaches_the_notebook(notebook: Notebook) -> None:
    page, root = notebook.page, notebook.root
    mode = page.locator(".jp-Notebook.jp-mod-commandMode")
    notebook.unfold("Model")
    notebook.unfold("Loss")
    places: dict[str, tuple[Any, list[str]]] = {
        "button": (root.locator(".wb-panel .wb-train"), []),
        "slider": (notebook.field("dropout").locator("[role=slider]"), ON_CONTROLS),
        "menu": (root.locator("[aria-label=device]"), []),
        "checkbox": (notebook.field("batch_norm").locator("input[type=checkbox]"), ON_CONTROLS),
        "table": (root.locator(".wb-table .dt-scroll-body"), ON_CONTROLS),
        "chart": (root.locator(".u-over").first, ON_CONTROLS),
        "label": (root.locator(".wb-label").first, ON_CONTROLS),
        "message": (root.locator(".wb-status"), ON_CONTROLS),
        "tab": (root.locator(".wb-tabs .lm-TabBar-tab.lm-mod-current"), ON_CONTROLS),
    }
    for place, (target, more) in places.items():
        if place in ("table", "chart", "label", "message", "slider"):
            target.click()  # as the mouse leaves the focus
        else:
            target.focus()
        expect(mode).to_have_count(1)
        before = page.evaluate(STATE)
        for key in [*COMMAND_KEYS, *more]:
            page.keyboard.press(key)
            assert page.evaluate(WITHIN), f"{key} on the {place} took the focus out of the workbench"
            if page.evaluate("document.activeElement.matches('input[type=search], input[type=text]')"):
                target.focus()
        assert page.evaluate(STATE) == before, place
    # the keys that keep their meaning: Escape and Shift+Enter
    root.locator(".wb-panel .wb-train").focus()
    page.keyboard.press("Tab")
    assert page.evaluate(WITHIN)
    root.locator(".wb-panel .wb-train").focus()
    page.keyboard.press("Control+b")
    expect(page.locator(".jp-DirListing").first).to_be_visible()
    page.keyboard.press("Control+b")


def test_question_mark_lists_the_shortcuts(notebook: Notebook) -> None:
    page, root = notebook.page, notebook.root
    root.locator(".wb-panel .wb-train").focus()
    before = page.evaluate(STATE)
    page.keyboard.press("?")
    dialog = root.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    expect(dialog.locator("kbd")).to_have_text(["Enter", "T", "P", "S", "L", "G", "/", "?"])
    for key in ("m", "d", "d", "t"):
        page.keyboard.press(key)
    assert page.evaluate(STATE) == before
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator(":focus")).to_have_class(re.compile("wb-train"))
    # in a field it is a character
    notebook.root.locator(".wb-name input").fill("")
    notebook.root.locator(".wb-name input").press_sequentially("t?")
    expect(notebook.root.locator(".wb-name input")).to_have_value("t?")
    expect(dialog).to_be_hidden()
    notebook.root.locator(".wb-name input").fill("")


def test_a_slider_reads_out_its_value(notebook: Notebook) -> None:
    for name, unit in (("learning_rate", " per step"), ("batch_size", " rows"), ("l2", ""), ("dropout", "")):
        handle = notebook.field(name).get_by_role("slider", name=name.replace("_", " "))
        for key in ("ArrowRight", "ArrowRight", "PageUp", "Home"):
            handle.press(key)
            notebook.page.wait_for_function(
                """([input, handle, unit]) => {
                    const text = handle.getAttribute('aria-valuetext');
                    return text.endsWith(unit) && Number(text.slice(0, text.length - unit.length)) === Number(input.value)
                        && Number(handle.getAttribute('aria-valuenow')) === Number(input.value);
                }""",
                arg=[notebook.number(name).element_handle(), handle.element_handle(), unit],
            )


def test_the_focus_is_visible(notebook: Notebook) -> None:
    page = notebook.page
    focus_after_reset(notebook)
    seen = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        style, width, clip, kind = page.evaluate(
            """() => { const one = document.activeElement, style = getComputedStyle(one);
                const kind = one.tagName + (one.getAttribute('role') ?? '');
                return [style.outlineStyle, parseFloat(style.outlineWidth), style.clipPath, kind]; }"""
        )
        seen.add(kind)
        assert (style, clip) == ("solid", "none"), kind
        assert width >= 2, kind
    assert {"BUTTON", "SELECT", "INPUT", "DIVslider"} <= seen


MESSAGES = ("error", "note", "hint", "good", "verdict", "banner", "edge", "caption")
SPECIMEN = "".join(f'<div class="wb-{kind}">text</div>' for kind in MESSAGES) + (
    '<div class="wb-problem"><span role="alert">text</span></div><div class="wb-problem"><span role="note">text</span></div>'
    '<table class="wb-facts"><tr class="wb-warned"><th>text</th><td>text</td></tr></table>'
    '<button class="jupyter-button wb-danger">text</button><button class="jupyter-button wb-toggle mod-active">x</button>'
)
"""Messages and buttons that come up at times only, in their colours."""


def violations(notebook: Notebook, within: str, options: dict[str, Any]) -> list[str]:
    """What axe-core finds to be serious or critical in a part of the page."""
    answer = notebook.page.evaluate(
        "([within, options]) => axe.run(within, { ...options, resultTypes: ['violations', 'passes'] })",
        [within, options],
    )
    contrasts = [
        node["any"][0]["data"] or {}
        for rule in answer["passes"]
        if rule["id"] == "color-contrast"
        for node in rule["nodes"]
    ]
    assert sum("contrastRatio" in data for data in contrasts) > 1, "axe-core takes the text for hidden"
    return [
        f"{rule['id']}: {node['html'][:160]}: {node['failureSummary']}"
        for rule in answer["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def test_no_serious_violation_in_any_tab(notebook: Notebook) -> None:
    from axe_playwright_python.base import AXE_SCRIPT

    page, root = notebook.page, notebook.root
    page.evaluate(AXE_SCRIPT)
    # axe-core takes what lies outside of an element that clips for hidden, and JupyterLab's body has a height of 0
    page.add_style_tag(content="body { height: 100vh; }")
    root.locator(".wb-main").evaluate(
        "(main, html) => main.insertAdjacentHTML('beforeend', `<div class='specimen'>${html}</div>`)", SPECIMEN
    )
    found = []
    for theme, options in (("Light", {}), ("Dark", {"runOnly": ["color-contrast"]})):
        page.locator(".lm-MenuBar-itemLabel", has_text="Settings").click()
        page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Theme$")).hover()
        page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^JupyterLab {theme}$")).click()
        expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "true" if theme == "Light" else "false")
        found += [(theme, one) for one in violations(notebook, ".wb-root", options)]
        for title in root.locator(".wb-tabs .lm-TabBar-tab").all_inner_texts():
            notebook.open_tab(title)
            body = root.locator(".wb-tabs > .widget-tab-contents > :not(.lm-mod-hidden)")
            expect(body).to_contain_text(re.compile(r"\w"))
            found += [(theme, title, one) for one in violations(notebook, ".wb-tabs", options)]
    root.locator(".specimen").evaluate("part => part.remove()")
    assert found == []


def test_shift_enter_runs_the_cell(notebook: Notebook) -> None:
    cell = notebook.page.locator(".jp-Cell").nth(1)
    before = cell.locator(".jp-InputPrompt").inner_text()
    notebook.root.locator(".wb-panel .wb-train").focus()
    notebook.page.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-InputPrompt")).not_to_have_text(re.compile(rf"^({re.escape(before)}|\[\*\]:)$"))
