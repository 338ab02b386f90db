"""Changes the code in one place at a time and runs the tests of that folder: a mutant that no test notices survives.

A random sample of comparisons turned, signs, constants and `and`/`or` out of training, log, methods and tasks:
`make mutants ARGS="--count 20 --seed 1"`. Each mutant is tested in a copy of the project, so that the work tree is not touched;
two at a time, each with one thread. The tests of a folder stop at the first failure, and after three times what they take without
a change: a mutant that never ends counts as noticed.
"""

from __future__ import annotations

import argparse
import ast
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("training", "log", "methods", "tasks")
TURNED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


class Place(NamedTuple):
    """One node that can be changed. index: its number in the walk of the file's syntax tree."""

    path: Path
    index: int
    line: int
    text: str


def changed(node: ast.AST) -> bool:
    """Change a node in place; False if it is of no kind that is changed."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in TURNED:
        node.ops[0] = TURNED[type(node.ops[0])]()  # type: ignore[assignment]
    elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in TURNED:
        node.op = TURNED[type(node.op)]()  # type: ignore[assignment]
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        node.value += 1
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
    else:
        return False
    return True


def places(path: Path) -> Iterator[Place]:
    """Every node of a file that can be changed."""
    for index, node in enumerate(ast.walk(ast.parse(path.read_text(encoding="utf-8")))):
        if hasattr(node, "lineno"):
            before = ast.unparse(node)
            if changed(node):
                yield Place(path, index, node.lineno, f"{before}  ->  {ast.unparse(node)}")


def mutated(place: Place) -> str:
    """The file's code with one node changed."""
    tree = ast.parse(place.path.read_text(encoding="utf-8"))
    changed(list(ast.walk(tree))[place.index])
    return ast.unparse(tree)


def tests_of(path: Path) -> Path:
    """The test folder that mirrors the folder of a module: the nearest one that exists."""
    folder = ROOT / "tests" / path.relative_to(ROOT / "workbench").parent
    while not folder.is_dir():
        folder = folder.parent
    return folder.relative_to(ROOT)


def run_tests(folder: Path, copy: Path, seconds: float) -> int | None:
    """Run the tests of a folder in a copy until the first failure. Returns the exit status, None after so many seconds."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not browser", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # processes that a test started go with it
        process.wait()
        return None


class Copies:
    """Copies of the project, one for each mutant that is tested at the same time."""

    def __init__(self, folder: Path, number: int, seconds: float) -> None:
        self._free: queue.Queue[Path] = queue.Queue()
        for index in range(number):
            copy = folder / f"project-{index}"
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "node_modules", "docs", "notebooks"))
            self._free.put(copy)
        self._most = seconds
        self._limits: dict[Path, float] = {}

    def measure(self, folder: Path) -> None:
        """Run the tests of a folder without a change, for the time limit. Raises: SystemExit if they do not pass."""
        copy = self._free.get()
        started = time.monotonic()
        status = run_tests(folder, copy, self._most)
        self._free.put(copy)
        if status != 0:
            raise SystemExit(f"{folder}: the tests fail or take more than {self._most:.0f} s without any change")
        self._limits[folder] = 3 * (time.monotonic() - started) + 20

    def survives(self, place: Place, until: float) -> bool | None:
        """Whether the tests of the folder pass with the change; None if it is too late to begin."""
        copy = self._free.get()
        try:
            if time.monotonic() > until:
                return None
            target = copy / place.path.relative_to(ROOT)
            target.write_text(mutated(place), encoding="utf-8")
            try:
                folder = tests_of(place.path)
                return run_tests(folder, copy, self._limits[folder]) == 0
            finally:
                shutil.copy(place.path, target)
        finally:
            self._free.put(copy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="mutants in the sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--minutes", type=float, default=60, help="no mutant is begun after so many minutes")
    parser.add_argument("--seconds", type=float, default=600, help="for the tests of one folder without a change")
    parser.add_argument("--at-once", type=int, default=2, help="mutants tested at the same time")
    parser.add_argument("--only", default="", help="mutants of files whose path contains this text")
    chosen = parser.parse_args()
    files = sorted(path for folder in FOLDERS for path in (ROOT / "workbench" / folder).rglob("*.py"))
    every = [place for path in files if chosen.only in str(path) for place in places(path)]
    sample = random.Random(chosen.seed).sample(every, min(chosen.count, len(every)))
    until, survivors, tried = time.monotonic() + chosen.minutes * 60, 0, 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(chosen.at_once) as pool:
        copies = Copies(Path(folder), chosen.at_once, chosen.seconds)
        list(pool.map(copies.measure, sorted({tests_of(place.path) for place in sample})))
        lives = pool.map(lambda place: copies.survives(place, until), sample)
        for place, alive in zip(sample, lives, strict=True):
            if alive is None:
                continue
            tried += 1
            survivors += alive
            where = f"{place.path.relative_to(ROOT)}:{place.line}"
            print(f"{'SURVIVES' if alive else 'killed  '} {where}  {place.text}", flush=True)
    print(f"{tried - survivors} of {tried} mutants killed (sample of {len(sample)} out of {len(every)})")


if __name__ == "__main__":
    main()
