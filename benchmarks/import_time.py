"""What `import workbench` and making a Config cost over `import torch, pandas`, each in fresh processes, alternating.

python -m benchmarks.import_time [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

LIMIT_SECONDS = 0.3
CODE = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
BASE = "import torch, pandas"


def seconds(statement: str) -> float:
    output = subprocess.run([sys.executable, "-c", CODE.format(statement)], capture_output=True, text=True, check=True)
    return float(output.stdout)


def main(rounds: int = 5) -> dict[str, object]:
    for statement in (BASE, f"{BASE}; import workbench"):
        seconds(statement)  # the files come from the disk once
    base, own = [], []
    for _ in range(rounds):
        base.append(seconds(BASE))
        own.append(seconds(f"{BASE}; import workbench as wb; wb.Config()"))
    extra = statistics.median(o - b for o, b in zip(own, base, strict=True))
    print(f"\nimport workbench: {extra:.2f} s over {BASE} ({statistics.median(base):.2f} s); limit {LIMIT_SECONDS} s")
    return {"seconds over torch and pandas": extra, "limit": LIMIT_SECONDS}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    main(parser.parse_args().rounds)
