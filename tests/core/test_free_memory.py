"""Memory that is free: the least of what the machine, the container and the process leave."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from workbench.core import memory


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    everything = memory.free_memory()
    assert 0 < everything <= psutil.virtual_memory().total
    for limit, wanted in (("3000000", 2_000_500), ("max", None), ("damaged", None)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text("1000000\n")
        (tmp_path / "memory.stat").write_text("anon 12\ninactive_file 500\n")
        found = memory.free_memory()
        assert found == wanted if wanted is not None else found > 2_000_500
    (tmp_path / "memory.max").write_text("10\n")
    assert memory.free_memory() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_the_limit_of_the_process_counts() -> None:
    script = (
        "import resource, psutil; from workbench.core.memory import free_memory; "
        "used = psutil.Process().memory_info().vms; "
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**28,) * 2); assert free_memory() <= 2**28, free_memory()"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).resolve().parents[2])
