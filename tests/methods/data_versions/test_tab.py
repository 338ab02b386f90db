"""The panel of versions, without a browser: what it tells and what it leaves out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.methods.data_versions.drift import COLUMNS
from workbench.methods.data_versions.tab import SHOWN_COLUMNS, VersionsPanel, continue_call
from workbench.methods.data_versions.versions import CHANGES

VERSIONS = pd.DataFrame(
    {
        "version": [1, 2], "current": [False, True], "name": ["", "<b>spring</b>"], "train": [1200, 1800],
        "validation": [400, 600], "test": [400, 600], "new_rows": pd.array([None, 1000], dtype="Int64"),
        "moved": ["", "income"], "columns": pd.array([None, 3], dtype="Int64"), "trials": [8, 2], "best": [0.91, np.nan],
        "created": pd.to_datetime([None, "2026-03-04T05:06:07+00:00"], utc=True), "note": "", "fingerprint": ["a", "b"],
        "former": [None, "a"],
    }
)  # fmt: skip


def changes(*rows: dict[str, Any]) -> pd.DataFrame:
    known = {
        "version": 2, "trial": 7, "reruns": (9, 10), "score": 0.91, "old_model": 0.82, "old_model_new_rows": 0.7,
        "rerun": 0.9, "low": 0.87, "high": 0.92, "seeds": 2, "change": 0.08, "change_low": 0.05, "change_high": 0.11,
        "beyond_noise": True, "verdict": "better",
    }  # fmt: skip
    return pd.DataFrame([{**known, **row} for row in rows], columns=["version", *CHANGES])


def drift(count: int) -> pd.DataFrame:
    rows = [
        {"version": 2, "column": f"<i>{n}", "role": "target" if n == 1 else "input", "test": "chi-squared",
         "p_adjusted": 0.01 * n, "moved": n < 5, "what": "mean", "old": 1.0, "new": 2.0} for n in range(count)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["version", *COLUMNS])


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def panel(asked: list[str]) -> VersionsPanel:
    return VersionsPanel(
        lambda: asked.append("start"), lambda: asked.append("stop"), lambda: asked.append("changed"), table=True
    )


def cells(panel: VersionsPanel, table: int) -> list[list[str]]:
    body = re.findall(r"<tbody>(.*?)</tbody>", panel.text.value)[table]
    body = body.replace("\u00a0", " ")
    return [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr.*?</tr>", body)]


def test_a_single_version_has_no_tables(panel: VersionsPanel) -> None:
    panel.show(VERSIONS[:1], changes(), drift(0), metric_label="accuracy")
    assert "One version of the data so far" in panel.text.value
    assert "<table" not in panel.text.value


def test_its_button_starts_and_stops(panel: VersionsPanel, asked: list[str]) -> None:
    panel.offer(["new_rows"])
    panel.data.value = "new_rows"
    panel.button.click()
    panel.busy("Reading")
    assert panel.button.disabled
    panel.show_running(0.25, "in training")
    assert (panel.button.description, panel.button.disabled, panel.progress.value) == ("Stop", False, 0.25)
    panel.button.click()
    panel.show_done("Version 2 is <trained>")
    assert "Version 2 is &lt;trained&gt;" in panel.note.value
    assert panel.progress.value == 1.0
    panel.button.click()
    assert asked == ["changed", "start", "stop", "start"]


def test_the_call_leaves_out_what_is_at_its_default() -> None:
    about = {"name": "", "device": "cpu"}
    assert continue_call("rows", {"top": 5, "seeds": 1, **about}) == "bench.continue_on(rows)"
    assert continue_call("a.csv", {"top": 3, "seeds": 2, "name": "x", "device": "cuda"}) == (
        "bench.continue_on('a.csv', top=3, seeds=2, name='x', device='cuda')"
    )


def test_it_tells_versions_settings_and_columns(panel: VersionsPanel) -> None:
    panel.show(
        VERSIONS,
        changes({}, {"trial": 3, "verdict": "within noise", "beyond_noise": False}),
        drift(3),
        metric_label="x<y",
    )
    assert cells(panel, 0) == [
        ["1", "", "", "1,200 / 400 / 400", "", "", "8", "0.9100"],
        [
            "2 (this one)",
            "&lt;b&gt;spring&lt;/b&gt;",
            "2026-03-04 05:06",
            "1,800 / 600 / 600",
            "1,000",
            "income",
            "2",
            "",
        ],
    ]
    first = ["2", "7", "0.9100", "0.8200", "0.9000 (0.8700 to 0.9200)", "+0.0800 (+0.0500 to +0.1100)", "better"]
    assert cells(panel, 1) == [first, [*first[:1], "3", *first[2:6], "within noise"]]
    assert cells(panel, 2)[1] == ["2", "&lt;i&gt;1 (target)", "moved", "mean: 1.000 → 2.000", "0.01", "chi-squared"]
    assert "accuracy" not in panel.text.value
    assert "x&lt;y" in panel.text.value
    assert panel.text.value.count('class="wb-worse"') == 2  # the former version, and the configuration within noise


def test_what_is_not_known_is_left_empty_and_many_columns_are_counted(panel: VersionsPanel) -> None:
    unknown = dict.fromkeys(["rerun", "low", "high", "change", "change_low", "change_high", "old_model"], np.nan)
    panel.show(
        VERSIONS, changes({**unknown, "verdict": "in training"}), drift(SHOWN_COLUMNS + 5), metric_label="accuracy"
    )
    assert cells(panel, 1) == [["2", "7", "0.9100", "", "", "", "in training"]]
    assert len(cells(panel, 2)) == SHOWN_COLUMNS
    assert "5 more in bench.drift" in panel.text.value
    panel.show(VERSIONS.assign(moved=["", "a, b, c, d, e, f"]), changes(), drift(0), metric_label="accuracy")
    assert cells(panel, 0)[1][5] == "a, b, c, d and 2 more"


def test_a_note_stays_until_the_next_and_so_do_the_tables(panel: VersionsPanel) -> None:
    panel.show(VERSIONS, changes({}), drift(1), metric_label="accuracy")
    before = panel.text.value
    panel.busy("Training anew: 2 of 5 <done>")
    assert "2 of 5 &lt;done&gt;" in panel.note.value
    panel.show_problem("the column 'age' is missing")
    assert 'role="alert"' in panel.note.value
    assert panel.text.value == before
    panel.show(VERSIONS, changes({}), drift(1), metric_label="accuracy")
    assert "the column &#x27;age&#x27; is missing" in panel.note.value
    panel.busy("Reading")
    assert "missing" not in panel.note.value
