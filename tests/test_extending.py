"""Each walk of docs/extending.md: its code is run as it stands there, and its result is compared with a reference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import torch
from sklearn.metrics import cohen_kappa_score
from torch import nn

import workbench as wb
from workbench.core.registry import METRICS, OPTIMIZERS
from workbench.methods.diagnosis.rules import RULES
from workbench.methods.search.strategies import STRATEGIES

TEXT = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")


def walk(title: str) -> dict[str, Any]:
    """Run the code of the section, after that of the introduction. Returns its names."""
    introduction, *sections = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    section = next(one for one in sections if one.partition("\n")[0] == title)
    names: dict[str, Any] = {"torch": torch}
    for part in (introduction, section):
        for code in re.findall(r"```python\n(.*?)```", part, flags=re.DOTALL):
            exec(code, names)
    return names


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    """The tables are as before after each walk."""
    rules, strategies = dict(RULES), dict(STRATEGIES)
    yield
    for table, name in ((OPTIMIZERS, "adamax"), (METRICS, "cohen_kappa")):
        if name in table:
            table.unregister(name)
    for entries, before in ((RULES, rules), (STRATEGIES, strategies)):
        entries.clear()
        entries.update(before)


def test_an_optimizer_takes_the_steps_of_torch() -> None:
    walk("An optimizer")
    task = wb.Task.load("iris")
    rows = len(task.train.y)
    bench = wb.Workbench(task)
    config = wb.Config(optimizer="adamax", adamax_eps=1e-4, beta1=0.8, learning_rate=0.01, hidden_layers=0, epochs=7)
    config = config.replace(batch_size=rows)
    trained = bench.run(config)
    torch.manual_seed(0)
    plain = nn.Linear(4, 3)
    optimizer = torch.optim.Adamax(plain.parameters(), lr=0.01, betas=(0.8, 0.999), eps=1e-4)
    losses = []
    for _ in range(7):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(plain(task.train.x), task.train.y)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    found = nn.functional.cross_entropy(plain(task.validation.x), task.validation.y).item()
    curve = bench.curves(*trained.trials)
    assert curve["train_loss"].to_numpy() == pytest.approx(losses, rel=1e-5)
    assert curve["val_loss"].iloc[-1] == pytest.approx(found, rel=1e-5)
    assert bench.trials["adamax_eps"].tolist() == [1e-4]
    with pytest.raises(wb.ConfigError, match="adamax_eps"):
        config.replace(adamax_eps=1.0)


def test_a_metric_is_that_of_scikit_learn() -> None:
    walk("A metric")
    task = wb.Task.load("wine", metrics=("cohen_kappa", "accuracy"))
    bench = wb.Workbench(task)
    bench.run(wb.Config(epochs=2, learning_rate=0.003))
    module = bench.model(1).module
    with torch.no_grad():
        answers = module(task.validation.x).argmax(-1)
    expected = cohen_kappa_score(task.validation.y.numpy(), answers.numpy())
    assert 0 < expected < 1
    assert bench.trials["best_val_metric"].item() == pytest.approx(expected, rel=1e-6)


def test_a_strategy_draws_what_its_sampler_draws() -> None:
    names = walk("A search strategy")
    bench = wb.Workbench(wb.Task.load("iris"))
    space = {"learning_rate": wb.LogRange(1e-4, 1e-1)}
    search = bench.search("early_tpe", space, wb.Config(epochs=1), trials=16, seed=3, blocking=True)
    assert bench.searches["strategy"].tolist() == ["early_tpe"]
    trials = bench.trials.set_index("trial").loc[list(search.trials)]
    study = optuna.create_study(sampler=names["early_tpe"](3), direction="maximize")
    drawn = []
    for batch in (range(8), range(8, 16)):  # strategies that learn are asked for eight at a time
        asked = [
            study.ask({"learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)}) for _ in batch
        ]
        drawn += [trial.params["learning_rate"] for trial in asked]
        for trial, place in zip(asked, batch, strict=True):
            study.tell(trial, trials["best_val_metric"].iloc[place])
    assert trials["learning_rate"].tolist() == pytest.approx(drawn, rel=1e-12)


def test_a_rule_appears_in_the_diagnosis_and_in_its_record() -> None:
    walk("A diagnosis rule")
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.run(wb.Config(epochs=2))
    bench.run(wb.Config(epochs=12, learning_rate=0.01))
    found = bench.diagnose(1)
    assert found.verdict == "few_epochs"
    assert found.findings[0].evidence == ("the trial has 2 epochs",)
    assert "few_epochs" not in [one.rule for one in bench.diagnose(2).findings]
    bench.try_it(1).wait()
    assert bench.trials["epochs_run"].iloc[-1] == 10
    record = bench.rules().set_index("rule")
    assert record.loc["few_epochs", "tried"] == 1


def test_a_tab_shows_what_the_log_has() -> None:
    tab = walk("A tab")["COUNTS"]

    class Bench:
        trials = pd.DataFrame({"state": ["completed", "failed", "completed"]})

    bench = Bench()
    body = tab.build(None, bench)
    assert (tab.title, body.text.value) == ("Counts", "completed: 2, failed: 1")
    bench.trials = pd.DataFrame({"state": ["pruned"]})
    tab.refresh(body)
    assert body.widget.value == "pruned: 1"
