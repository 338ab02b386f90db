"""pyproject.toml, constraints.txt and environment.yml say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import workbench as wb
from tools.lowest import lowest

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = "https://github.com/tuning-workbench/workbench"
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


def test_links_and_pictures_of_the_readme_are_absolute_and_exist() -> None:
    """The package index shows the README without the files around it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", text)
    raw = ADDRESS.replace("github.com", "raw.githubusercontent.com")
    own = 0
    for picture, link in links:
        assert link.startswith("https://"), f"{link}: a relative link is dead on the package index"
        if "tuning-workbench" in link:
            start = f"{raw}/main/" if picture else f"{ADDRESS}/blob/main/"
            assert link.startswith(start), link
            assert (ROOT / link.removeprefix(start)).is_file(), f"{link}: no such file"
            own += 1
    assert own > 10


def test_the_addresses_of_the_project() -> None:
    urls = PROJECT["urls"]
    assert urls.keys() == {"Homepage", "Documentation", "Changelog", "Issues"}
    assert urls["Homepage"] == ADDRESS
    for url in urls.values():
        assert url.startswith(ADDRESS)
        place = re.fullmatch(rf"{re.escape(ADDRESS)}/(?:blob|tree)/main/(.+)", url)
        assert place is None or (ROOT / place[1]).exists(), url


def test_make_lowest_takes_the_lower_bound_of_each_requirement() -> None:
    for text in PROJECT["dependencies"]:
        name, _, version = lowest(text).partition("==")
        requirement = Requirement(text)
        assert Requirement(name).name == requirement.name
        assert Requirement(name).extras == requirement.extras
        assert str(requirement.specifier) == f">={version}"
    for text in ("numpy", "numpy<3", "numpy>=1,<3"):
        with pytest.raises(ValueError, match="expected one lower bound"):
            lowest(text)
