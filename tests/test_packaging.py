"""pyproject.toml, constraints.txt and environment.yml say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

import workbench as wb

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name: Version(version) for name, version in pairs}


def test_every_requirement_is_pinned_within_its_range() -> None:
    extras = PROJECT["optional-dependencies"]
    wanted = PROJECT["dependencies"] + extras["lab"] + extras["test"] + extras["dev"]
    pinned = pins()
    for text in wanted:
        requirement = Requirement(text)
        assert requirement.name.lower() in pinned, f"{requirement.name} is not in constraints.txt: run `make pin`"
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), text
    assert pinned["torch"] == Version("2.13.0")


def test_conda_uses_the_same_constraints_and_python() -> None:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert "-c constraints.txt" in text
    assert f"python{PROJECT['requires-python']}" in text


def test_the_version_stands_in_one_place() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert wb.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert (ROOT / "workbench" / "py.typed").exists()


def test_the_readmes_commands_are_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = set(re.findall(r"\bmake ([a-z]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"lab", "test"} <= commands <= targets
