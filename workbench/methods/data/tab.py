"""The data tab: what is known of the task, its targets, classes and groups, sample rows, and warnings."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import ipywidgets as widgets
import pandas as pd

from workbench.core.text import counted
from workbench.methods.data.figure import class_bars, target_histograms
from workbench.methods.data.overview import (
    LABELS,
    class_sizes,
    group_sizes,
    imbalance,
    preprocessing_words,
    sample_pictures,
    sample_table,
    target_values,
)
from workbench.ui.bench import Bench
from workbench.ui.parts import make, message
from workbench.ui.pictures import figure_html, thumbnails
from workbench.ui.presenter import Presenter
from workbench.ui.tab import Tab, TabBody
from workbench.ui.tables import heading, html_table

if TYPE_CHECKING:
    from workbench.tasks import Task

__all__ = ["DATA", "DataTab", "data_html", "facts"]

CLASSES, COLUMNS = 20, 9
"""So many classes, and columns of sample rows, are listed."""


def facts(task: Task) -> str:
    """The task's summary as an HTML table; all text escaped."""
    rows, warned = [], False
    for name, value in task.summary()["value"].items():
        warned = name == "warning" or (warned and not name)  # a long one goes over several rows
        css = ' class="wb-warned"' if warned else ""
        head = f'<th scope="row">{html.escape(str(name))}</th>' if name else "<td></td>"
        rows.append(f"<tr{css}>{head}<td>{html.escape(str(value))}</td></tr>")
    return f'<table class="wb-facts"><caption>{html.escape(task.name)}</caption>{"".join(rows)}</table>'


def data_html(task: Task) -> str:
    """Targets, classes, groups, preprocessing and sample rows as HTML; all text escaped."""
    parts = [_targets(task), *_sizes(task)]
    words = "".join(f"<li>{html.escape(line)}</li>" for line in preprocessing_words(task))
    parts.append(f'{heading("Preprocessing")}<ul class="wb-list">{words}</ul>')
    parts.append(_sample(task))
    return "".join(parts)


class DataTab(TabBody):
    """What is known of the task is there from the start; the rest is made when the tab is first in front."""

    def __init__(self, presenter: Presenter, bench: Bench) -> None:
        self._presenter = presenter
        self._made = False
        self.facts = make(widgets.HTML, facts(presenter.task))
        self.rest = make(widgets.HTML, classes="wb-board")
        super().__init__(make(widgets.VBox, [self.facts, self.rest], classes="wb-data"))

    def refresh(self) -> None:
        """Draw the task, once: it never changes."""
        if self._made:
            return
        self._made = True
        dispatch, task = self._presenter.dispatch, self._presenter.task

        def then(found: str | None, error: Exception | None) -> None:
            if error is not None:
                dispatch.fail(lambda text: setattr(self.rest, "value", message(text)), error)
            elif found is not None:
                self.rest.value = found

        dispatch.background.submit("data", lambda: data_html(task), then)


DATA = Tab("Data", DataTab, DataTab.refresh, early=True)


# ----------------------------------------------------------------------------------------------------------------------


def _targets(task: Task) -> str:
    sizes, values = class_sizes(task), target_values(task)
    if sizes is not None:
        counted_as = "positions" if task.kind == "dense" else "rows"
        png, title = class_bars(sizes, counted_as)._repr_png_(), "Labels" if task.kind == "multilabel" else "Classes"
        where = "in the training and validation split" if task.folds is None else "outside the test set"
        alt = f"{counted_as.capitalize()} of each {sizes.index.name} {where}"
    elif values is not None:
        png, title, alt = target_histograms(values)._repr_png_(), "Target", "Histograms of the targets"
    else:
        return ""
    uneven = imbalance(sizes) if sizes is not None and task.kind == "classification" else ""
    note = f'<div class="wb-note" role="note">{html.escape(uneven)}</div>' if uneven else ""
    return f"{heading(title)}{figure_html(png, alt)}{note}"


def _sizes(task: Task) -> list[str]:
    found = []
    sizes = class_sizes(task)
    if sizes is not None:
        shown = sizes.sort_values("share", ascending=False, kind="stable").head(CLASSES)
        columns = {
            label: [f"{count:,}" for count in shown[split]]
            for split, label in {**LABELS, "fewest": "validation rows of the smallest fold"}.items()
            if split in shown
        }
        shares = [f"{share:.1%}" for share in shown["share"]]
        table = pd.DataFrame({str(shown.index.name): shown.index.astype(str), **columns, "share": shares})
        hidden = len(sizes) - len(shown)
        more = f'<div class="wb-hint">and {hidden:,} more</div>' if hidden else ""
        found.append(html_table(table) + more)
    if task.sizes["test"]:
        said = f"{counted(task.sizes['test'], 'test row')}, sealed: counted neither by class nor by group."
        found.append(f'<div class="wb-hint">{html.escape(said)}</div>')
    groups = group_sizes(task)
    if groups is not None:
        shown = groups.rename(index=LABELS).reset_index(names="split")
        for name in ("smallest", "median", "largest"):
            shown[name] = [f"{count:g}" for count in shown[name]]
        shown = shown.rename(
            columns={"smallest": "rows of the smallest", "median": "the median", "largest": "the largest"}
        )
        found.append(heading("Groups") + html_table(shown))
    return found


def _sample(task: Task) -> str:
    pictures, table = sample_pictures(task), sample_table(task)
    if pictures is not None:
        images, said = pictures
        return heading("Training pictures") + thumbnails(images, [[line] for line in said])
    if table is None:
        return ""
    shown = table.iloc[:, :COLUMNS]
    hidden = table.shape[1] - shown.shape[1]
    more = f'<div class="wb-hint">and {counted(hidden, "more column")}</div>' if hidden else ""
    return heading("Training rows") + html_table(shown) + more
