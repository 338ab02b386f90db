"""Writes docs/hyperparameters.md from the declarations. `--check` only says whether the file is up to date."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import workbench  # noqa: F401  (fills the tables of choices)
from workbench.core.config import CHOICES, HYPERPARAMETERS, Hyperparameter
from workbench.core.domains import Domain
from workbench.core.registry import METRICS, Registry

PAGE = Path(__file__).resolve().parent.parent / "docs" / "hyperparameters.md"

INTRODUCTION = """\
# Hyperparameters

Written by `make docs` from the declarations in `workbench/core/config.py`; do not edit.

Every hyperparameter is a field of `wb.Config`. *Live* ones may change while a trial runs (`run.set(learning_rate=3e-3)` or the
control itself); the change takes force at the next optimizer step and stands in the log. A hyperparameter that the present
choices do not read (momentum under Adam) is ignored and hidden in the user interface.

The interface begins with `task.suggested_config()`: these defaults, with so many epochs that a run lasts some 10 seconds
on two cores (digits: 300), so that a control can be moved while it trains. For a lesson, it can be limited to some
hyperparameters, with ranges of its own:

    wb.Workbench(task, controls=["learning_rate", "l2"], ranges={"learning_rate": (1e-4, 1)})

The others keep their values. A range limits the slider, what is typed, and a search that is set up by hand; 0 or "off"
stays possible where it is allowed below. A trial that is loaded into the controls is loaded whole, and a value outside its
range is marked. Calls such as `bench.start` are not limited.
"""


def rule(hyperparameter: Hyperparameter) -> str:
    if isinstance(hyperparameter.domain, Registry):
        return "see below" + (", or `auto`" if hyperparameter.auto else "")
    scale = getattr(hyperparameter.domain, "scale", "linear")
    words = {"linear": "", "log": ", log scale", "power2": ", powers of two on the slider"}[scale]
    return hyperparameter.description.replace("|", "\\|") + words


def readers(name: str) -> str:
    entries = [f"`{entry.name}`" for table in CHOICES.values() for entry in table.values() if name in entry.uses]
    return ", ".join(entries) or "always"


def own(entry_parameters: dict[str, Domain]) -> str:
    return "; ".join(
        f"`{name}`: {domain.description}, default {domain.start!r}" for name, domain in entry_parameters.items()
    )


def page() -> Iterator[str]:
    yield INTRODUCTION
    groups = dict.fromkeys(hyperparameter.group for hyperparameter in HYPERPARAMETERS.values())
    for group in groups:
        yield f"\n## {group.capitalize()}\n\n"
        yield "| name | symbol | default | allowed | unit | live | read by | meaning |\n|---|---|---|---|---|---|---|---|\n"
        for name, hyperparameter in HYPERPARAMETERS.items():
            if hyperparameter.group == group:
                yield (
                    f"| `{name}` | {hyperparameter.symbol.replace('|', '&#124;')} | `{hyperparameter.default!r}` "
                    f"| {rule(hyperparameter)} | {hyperparameter.unit} | {'yes' if hyperparameter.live else ''} "
                    f"| {readers(name)} | {hyperparameter.meaning.replace('|', '&#124;')} |\n"
                )
    for title, table in {**CHOICES, "metric": METRICS}.items():
        yield f"\n## Choices of {title}\n\n| name | label | tasks | meaning | reads | brings along |\n|---|---|---|---|---|---|\n"
        for entry in table.values():
            reads = ", ".join(f"`{name}`" for name in sorted(entry.uses - entry.parameters.keys()))
            meaning = entry.meaning.replace("|", "&#124;")
            kinds = ", ".join(sorted(entry.kinds))
            yield f"| `{entry.name}` | {entry.label} | {kinds} | {meaning} | {reads} | {own(dict(entry.parameters))} |\n"


def main() -> int:
    text = "".join(page())
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
