"""The text of a constraint, as it stands in messages and in the log."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import workbench as wb
from workbench.core.constraint import Constraint, ConstraintError

LIMIT = 10


class Bounded:
    def __call__(self, config: wb.Config) -> bool:
        return config.hidden_units < LIMIT

    def __repr__(self) -> str:
        return "Bounded()"


def test_the_text_is_the_source_of_the_very_function() -> None:
    one, other = Constraint(lambda c: c.hidden_units < LIMIT), Constraint(lambda c: c.hidden_layers < 3)
    assert (one.text, other.text) == ("lambda c: c.hidden_units < LIMIT", "lambda c: c.hidden_layers < 3")
    several = Constraint(
        lambda c: (
            c.hidden_units < 5  # a comment
            and c.hidden_layers < 3
        )
    )
    assert several.text == "lambda c: c.hidden_units < 5 and c.hidden_layers < 3"
    local = 4
    assert Constraint(lambda c: c.hidden_units < local).text == "lambda c: c.hidden_units < local"
    assert Constraint(Bounded()).text == "Bounded()"
    assert Constraint(eval("lambda c: True")).text.endswith("<lambda>")
    assert "partial" in Constraint(functools.partial(lambda limit, c: c.hidden_units < limit, 5)).text


@pytest.mark.parametrize("given", [None, True, "c.hidden_units < 5", 3.0, bool, [lambda c: True]])
def test_what_cannot_be_called_is_rejected(given: Any) -> None:
    with pytest.raises(wb.ConfigError, match="where=.*give a function of a Config"):
        Constraint(given)


@pytest.mark.parametrize("answer", [None, 1, "yes", 0.5, [True]])
def test_an_answer_is_true_or_false(answer: Any) -> None:
    import numpy as np

    assert Constraint(lambda c: np.bool_(True)).allows(wb.Config())
    with pytest.raises(ConstraintError, match="return True or False"):
        Constraint(lambda c: answer).allows(wb.Config())
