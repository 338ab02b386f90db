"""`bench.report`: what stands in the file, read back from it, and that it needs nothing but itself."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.core.errors import ConfigError, LogError, RunError

QUICK = wb.Config(epochs=3, hidden_units=8, learning_rate=0.03)
NAME = 'wide <script src="https://example.org/x.js"></script> & http://example.org/y.png'


LOADING = {"src", "srcset", "href", "data", "action", "poster", "background", "formaction", "xlink:href", "ping"}
"""Attributes whose value a browser may fetch."""


class Page(HTMLParser):
    """What a browser would load, the text by section, and the tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.sections: dict[str, str] = {"": ""}
        self._rows: list[list[list[str]]] = []
        self.feed(text)
        self.tables = [pd.DataFrame(rows[1:], columns=rows[0]) for rows in self._rows]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in LOADING]
        self.loads += re.findall(r"url\(([^)]*)\)", dict(attrs).get("style") or "")
        if tag == "table":
            self._rows.append([])
        elif tag == "tr":
            self._rows[-1].append([])
        elif tag in ("td", "th"):
            self._rows[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["h2"]:
            self.sections[data] = ""
            self.tags.append("")
            return
        self.sections[list(self.sections)[-1]] += f" {data}"
        if self.tags[-1:] in (["td"], ["th"]):
            self._rows[-1][-1][-1] += data


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bench() -> wb.Workbench:
    """Two seeds with a live change, another configuration, and a search of four."""
    bench = wb.Workbench(wb.Task.load("iris", metrics=("accuracy", "f1")))
    bench.run(QUICK, seeds=2, name=NAME, note="<b>note</b>", changes=[(4, "learning_rate", 0.07)])
    bench.run(QUICK.replace(optimizer="momentum", l2=1e-3))
    space = {"learning_rate": wb.LogRange(1e-3, 1e-1), "hidden_units": [8, 16]}
    bench.search("random", space, QUICK, trials=4, blocking=True)
    return bench


@pytest.fixture(scope="module")
def files(bench: wb.Workbench, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    return {
        "one": bench.report(1, folder / "one.html"),
        "several": bench.report([1, 3], folder / "several.html"),
        "search": bench.report(None, folder / "search.html", search=1),
    }


@pytest.mark.parametrize("what", ["one", "several", "search"])
def test_the_file_loads_nothing(files: dict[str, Path], what: str) -> None:
    text, page = files[what].read_text(encoding="utf-8"), read(files[what])
    assert page.loads
    assert all(one.startswith("data:image/png;base64,") for one in page.loads)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert "default-src 'none'" in text


@pytest.mark.parametrize("what", ["one", "several", "search"])
def test_its_pictures_are_pictures(files: dict[str, Path], what: str) -> None:
    for one in read(files[what]).loads:
        assert base64.b64decode(one.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG\r\n\x1a\n")


def test_a_trial_has_all_its_sections(files: dict[str, Path], bench: wb.Workbench) -> None:
    sections = read(files["one"]).sections
    for heading in (
        "Results", "Configuration", "Learning curves", "Errors on the validation rows", "Live changes and messages", "Epochs",
        "Script that repeats this trial", "Data", "Environment",
    ):  # fmt: skip
        assert heading in sections
    assert bench.code(1).strip() in sections["Script that repeats this trial"]
    assert repr(bench.config(1)) in sections["Configuration"]
    assert NAME in sections["Results"]  # as text
    assert "<b>note</b>" in sections["Results"]
    assert bench.task.fingerprint in sections["Data"]
    environment = bench.log.ownership.environments(1)[0]
    assert all(value in sections["Environment"] for value in environment.values())


def test_its_tables_have_the_numbers_of_the_log(files: dict[str, Path], bench: wb.Workbench) -> None:
    tables = read(files["one"]).tables
    row = bench.trials.set_index("trial").loc[1]
    results = tables[0].iloc[0]
    assert float(results["validation accuracy"]) == pytest.approx(row["val_accuracy"], abs=1e-4)
    assert float(results["validation F1 (macro)"]) == pytest.approx(row["val_f1"], abs=1e-4)
    assert (results["best epoch"], results["state"]) == (str(row["best_epoch"]), row["state"])
    curves = bench.curves(1)
    epochs = next(table for table in tables if "epoch" in table and len(table) == len(curves) and "train loss" in table)
    for column in ("train_loss", "val_loss", "val_accuracy", "learning_rate"):
        np.testing.assert_allclose(epochs[column.replace("_", " ")].astype(float), curves[column], rtol=1e-3)
    change = next(table for table in tables if "kind" in table).iloc[0]
    assert change[["step", "name", "old", "new"]].tolist() == ["4", "learning_rate", "0.03", "0.07"]


def test_only_hyperparameters_that_the_trial_reads_are_listed(files: dict[str, Path], bench: wb.Workbench) -> None:
    tables = read(files["one"]).tables
    table = next(table for table in tables if "hyperparameter" in table)
    config = bench.config(1)
    assert set(table["hyperparameter"]) == {name for name in config.model_dump() if config.uses(name)}
    changed = table[table["default"] != ""]["hyperparameter"]
    assert set(changed) == set(config.changed())


def test_several_trials_have_their_differences(files: dict[str, Path], bench: wb.Workbench) -> None:
    assert bench.diff(1, 3)._repr_html_() in files["several"].read_text(encoding="utf-8")


def test_a_search_has_its_trials_best_first_and_its_figures(files: dict[str, Path], bench: wb.Workbench) -> None:
    sections = read(files["search"]).sections
    for heading in (
        "Search",
        "Parallel coordinates",
        "Metric against each hyperparameter",
        "Importance of the hyperparameters",
    ):
        assert heading in sections
    assert "LogRange(low=0.001, high=0.1)" in sections["Search"]
    table = read(files["search"]).tables[0]
    expected = bench.trials[bench.trials["search"] == 1]
    assert set(table["trial"].astype(int)) == set(expected["trial"])
    assert table["validation accuracy"].astype(float).is_monotonic_decreasing
    assert "learning rate" in table


def test_a_handle_is_as_good_as_its_number(bench: wb.Workbench, tmp_path: Path) -> None:
    run = bench.run(QUICK.replace(seed=9))
    title = re.compile(r"<title>(.*)</title>")
    page = bench.report(run, tmp_path / "run.html").read_text(encoding="utf-8")
    found = title.search(page)
    assert found is not None
    assert found[1] == f"Trial {run.trials[0]} on &#x27;iris&#x27;"


def test_a_diverged_trial_and_one_without_weights_have_a_report(tmp_path: Path) -> None:
    bench = wb.Workbench(wb.Task.load("diabetes"))
    trial = bench.run(wb.Config(learning_rate=10.0, optimizer="sgd", epochs=3)).trials[0]
    assert bench.log.state(trial) == "diverged"
    sections = read(bench.report(trial, tmp_path / "diverged.html")).sections
    assert "diverged" in sections["Results"]
    assert "Configuration" in sections


def test_a_cross_validated_trial_has_a_report(tmp_path: Path) -> None:
    bench = wb.Workbench(wb.Task.load("iris", split=wb.Split.folds(3)))
    trial = bench.run(QUICK.replace(epochs=2)).trials[0]
    sections = read(bench.report(trial, tmp_path / "folds.html")).sections
    assert "Learning curves" in sections
    assert "Errors on the validation rows" not in sections  # it has a model for each fold


def test_an_existing_file_is_replaced_as_by_save(bench: wb.Workbench, tmp_path: Path) -> None:
    place = tmp_path / "report.html"
    place.write_text("old")
    assert bench.report(1, str(place)) == place
    assert place.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((999, "r.html"), LogError, "999"),
        (("one", "r.html"), RunError, "whole number"),
        (([], "r.html"), RunError, "no trial"),
        ((None, "r.html"), ConfigError, "give the number of a trial"),
        ((1, None), ConfigError, "give the path of a file"),
        ((1, 3), ConfigError, "path is a int"),
        ((1, "."), ConfigError, "is a folder"),
        ((1, "missing/r.html"), RunError, "there is no folder"),
    ],
)
def test_what_cannot_be_is_rejected(
    bench: wb.Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, error: Any, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        bench.report(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_searches_and_trials_of_others_are_rejected(bench: wb.Workbench, tmp_path: Path) -> None:
    with pytest.raises(LogError, match="search 7"):
        bench.report(None, tmp_path / "r.html", search=7)
    with pytest.raises(ConfigError, match="give trials=None with it"):
        bench.report(1, tmp_path / "r.html", search=1)
    log = tmp_path / "log.db"
    trial = wb.Workbench(wb.Task.load("wine"), log).run(QUICK.replace(epochs=1)).trials[0]
    other = wb.Workbench(wb.Task.load("iris"), log)
    with pytest.raises(RunError, match="other data"):
        other.report(trial, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
