"""A module imports only lower layers, or modules of its own package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "workbench"
LAYERS = {
    "errors": 0, "events": 0, "domains": 0, "registry": 0, "hyperparameters": 0, "registration": 0, "files": 0, "words": 0,
    "tasks": 1, "models": 1, "training": 2, "log": 3, "snapshots": 3, "trained": 3, "search": 4, "execution": 4, "analysis": 4,
    "namespace": 2, "figures": 5, "widgets": 5, "ensembles": 6, "reads": 6, "advising": 6, "recall": 6, "watching": 6,
    "clicks": 6, "tabs": 7, "showing": 8, "outcomes": 10,
    "session": 9, "arguments": 9, "searching": 10, "branching": 10, "finetuning": 10, "versioning": 10, "ranging": 10,
    "assembling": 10, "opening": 10, "replaying": 11, "resuming": 11, "diagnosing": 11, "continuing": 11, "reading": 12,
    "acting": 12, "workbench": 13,
}  # fmt: skip


def imports(path: Path) -> set[str]:
    """The modules of this package that a file imports anywhere, lazily or for type checkers included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name for name in names if name.startswith("workbench.")}
    return found


def violations(root: Path) -> list[str]:
    wrong = []
    for path in sorted(root.rglob("*.py")):
        own = path.relative_to(root).parts[0].removesuffix(".py")
        if own == "__init__":
            continue  # the public face may import everything
        for name in imports(path):
            room = name.split(".")[1]
            lower = LAYERS[room] < LAYERS[own] or (LAYERS[room] == LAYERS[own] == 0)
            if room != own and not lower:
                wrong.append(f"{path.relative_to(root)} imports {name}")
    return wrong


def test_imports_go_downwards() -> None:
    assert violations(ROOT) == []


def test_a_planted_violation_is_found(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "bad.py").write_text("def f():\n    from workbench.log import TrialLog\n")
    assert violations(tmp_path) == ["training/bad.py imports workbench.log.TrialLog"]


def test_every_room_has_a_layer() -> None:
    rooms = {path.name.removesuffix(".py") for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__init__", "__pycache__", "py.typed"} <= LAYERS.keys()


def test_events_and_errors_know_no_torch() -> None:
    for name in ("events", "errors", "domains", "registry", "hyperparameters"):
        assert "torch" not in (ROOT / f"{name}.py").read_text(encoding="utf-8").replace("no torch", "").replace(
            "without torch", ""
        )


def test_importing_starts_nothing_and_loads_no_plotting() -> None:
    script = (
        "import sys, threading, workbench; "
        "assert threading.active_count() == 1; "
        "bad = {'matplotlib', 'ipywidgets', 'sqlalchemy', 'sklearn', 'optuna'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT.parent)
