"""The README's code is run as it stands, of a smaller search."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from torch import Tensor, nn

import workbench as wb
from workbench.core.registry import MODELS

README = Path(__file__).parent.parent / "README.md"
SMALLER = {"epochs=30": "epochs=14", "trials=64": "trials=10"}


class MyNet(nn.Module):
    def __init__(self, shape: tuple[int, ...], outputs: int, width: int, kernel: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(shape[0], width), nn.AvgPool1d(kernel, 1, kernel // 2), nn.Linear(width, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(x)
        return found


def test_the_code_of_the_readme_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = wb.Task.load("digits")
    rows = np.random.default_rng(0).normal(size=(90, 3))
    table = pd.DataFrame({"size": rows[:, 0], "age": rows[:, 1], "rent": rows[:, 0] * 300 + rows[:, 2] * 20 + 900})
    table.to_csv("rents.csv", index=False)
    digits = load_digits()
    pictures, more = digits.images[:, None], 90
    newer = np.concatenate([pictures, pictures[:more] * 0.9]), np.concatenate([digits.target, digits.target[:more]])
    names: dict[str, Any] = {"MyNet": MyNet, "other": task, "raw_rows": pictures[:5], "old_and_new_rows": newer}
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    benches = []
    try:
        for block in blocks:
            code = block
            for shown, run in SMALLER.items():
                code = code.replace(shown, run)
            exec(compile(code, str(README), "exec"), names)
            benches.append(names["bench"])
        for run in benches[0].active:
            run.wait(60)
        assert "failed" not in set(benches[0].trials["state"])
        assert len(benches[0].openings) == 1
        own = benches[-1].run(wb.Config(model="mine", epochs=2, kernel=5))
        assert list(own.states.values()) == ["completed"]
    finally:
        MODELS.unregister("mine")
