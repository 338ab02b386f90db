from __future__ import annotations

from workbench.core.text import counted


def test_a_number_with_its_noun() -> None:
    said = [counted(count, "epoch") for count in (0, 1, 2, 1500)]
    assert said == ["0 epochs", "1 epoch", "2 epochs", "1,500 epochs"]
