"""Runs the benchmarks and writes their results as JSON.

python -m benchmarks.run [NAME ...] [--json FILE]        or   make bench ARGS="log_append --json found.json"
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from pathlib import Path

import torch

NAMES = (
    "training_loop",
    "cohort",
    "search",
    "memory",
    "checkpoints",
    "log_append",
    "log_scale",
    "live_update",
    "watching",
    "range_test",
    "import_time",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="which; all by default")
    parser.add_argument("--json", type=Path, help="write all results to this file")
    arguments = parser.parse_args()
    machine = {"cores": os.cpu_count(), "system": platform.system(), "torch": torch.__version__}
    found: dict[str, object] = {"machine": machine}
    for name in arguments.names or NAMES:
        found[name] = importlib.import_module(f"benchmarks.{name}").main()
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
