"""Files of tensors: what is written comes back to the bit, what was altered is refused, and nothing in a file is run."""

from __future__ import annotations

import errno
import io
import math
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.core import files
from workbench.core.errors import CheckpointError

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.bool, torch.uint8,
          torch.int8, torch.int16, torch.int32, torch.int64, torch.float8_e4m3fn]  # fmt: skip


def same(left: Any, right: Any) -> bool:
    """Equal to the last bit, types, shapes and order of lists included; NaN equals NaN, 0.0 is not -0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, torch.Tensor):
        bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (left, right)]
        return (left.dtype, left.shape) == (right.dtype, right.shape) and torch.equal(*bits)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right) or (math.isnan(left) and math.isnan(right))
    return bool(left == right)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Any bits of any type, NaN and inf among them."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    size = torch.empty(0, dtype=dtype).element_size() * math.prod(shape)
    data = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if dtype == torch.bool:
        data = bytearray(byte % 2 for byte in data)
    return torch.frombuffer(data, dtype=dtype).reshape(shape) if size else torch.empty(shape, dtype=dtype)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9)
KEYS = st.text(st.characters(), max_size=6) | st.integers()
CONTENT = st.dictionaries(
    KEYS,
    st.recursive(
        PLAIN | tensors(),
        lambda part: st.lists(part, max_size=4) | st.lists(part, max_size=3).map(tuple) | st.dictionaries(KEYS, part, max_size=4),
        max_leaves=12,
    ),
    max_size=5,
)  # fmt: skip

EXAMPLE: dict[str, Any] = {
    "weights": {
        "0.weight": torch.linspace(-1, 1, 24).reshape(4, 6),
        "0.bias": torch.tensor([math.nan, math.inf, -0.0]),
    },
    "half": torch.arange(5).to(torch.bfloat16),
    "count": torch.tensor(7),
    "none": torch.empty(0, 3),
    "config": {"rate": 1e-3, "units": 64, "clip": None, "norm": True, "name": "größe ✓"},
    "list": [1, [2.5, "x"], ()],
}
DATA = bytes(files.pack("model", EXAMPLE))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "model.pt"


def read_bytes(data: bytes, place: Path) -> dict[str, Any]:
    place.write_bytes(data)
    return files.read(place, "model")


# --- the way there and back -----------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=CONTENT)
def test_what_is_written_comes_back_to_the_bit(content: dict[Any, Any], place: Path) -> None:
    files.write(place, files.pack("model", content), through=False)
    assert same(files.read(place, "model"), content)


def test_the_comparison_of_these_tests_bites() -> None:
    assert same(EXAMPLE, dict(EXAMPLE))
    for left, right in [(0.0, -0.0), (1, True), (1, 1.0), ([1], (1,)), (torch.zeros(1), torch.zeros(1, 1)),
                        (torch.zeros(1), torch.zeros(1).double()), (torch.zeros(1), -torch.zeros(1))]:  # fmt: skip
        assert not same({"a": [left]}, {"a": [right]})


def test_views_parameters_and_expanded_tensors_are_written_as_what_they_show(place: Path) -> None:
    large = torch.arange(1_000_000.0)
    content = {
        "view": large[5:8], "steps": large[::250_000], "turned": large[:6].view(2, 3).T, "one": torch.ones(1).expand(4),
        "parameter": torch.nn.Parameter(torch.ones(2)), "conjugate": torch.tensor([1 + 2j]).conj(),
    }  # fmt: skip
    files.write(place, files.pack("model", content))
    found = files.read(place, "model")
    for name, tensor in content.items():
        assert torch.equal(found[name], tensor.detach())
        assert not found[name].requires_grad
    assert place.stat().st_size < 10_000


def test_an_ordinary_torch_load_opens_the_file(place: Path) -> None:
    files.write(place, DATA)
    assert same(torch.load(place, weights_only=True)["content"], EXAMPLE)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (np.float64(1), "numpy.float64"),
        (np.zeros(2), "numpy.ndarray"),
        (object(), "builtins.object"),
        (math.sqrt, "builtin_function_or_method"),
        ({1, 2}, "builtins.set"),
        (b"bytes", "builtins.bytes"),
        (torch.zeros(2).to_sparse(), "torch.Tensor"),
        ({None: 1}, "builtins.dict"),
    ],
)
def test_anything_else_is_named_before_it_is_written(value: Any, what: str) -> None:
    with pytest.raises(CheckpointError, match=rf"content\['a'\]\[1\] is a .*{what}: a file holds tensors, numbers"):
        files.pack("model", {"a": [0, value]})


# --- damage ---------------------------------------------------------------------------------------------------------


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bit=st.integers(0, 8 * len(DATA) - 1))
def test_a_flipped_bit_is_noticed_or_changes_nothing(bit: int, place: Path) -> None:
    data = bytearray(DATA)
    data[bit // 8] ^= 1 << bit % 8
    try:
        found = read_bytes(bytes(data), place)
    except CheckpointError:
        return
    assert same(found, EXAMPLE)


def test_every_bit_of_the_weights_and_of_the_values_is_watched(place: Path) -> None:
    """Not at random: all bits of the places where the content stands, none of which may pass."""
    with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
        names = {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist()}
    spans = [names["0"], b"\x47" + struct.pack(">d", 1e-3), "größe ✓".encode()]
    for span in spans:
        start = DATA.index(span)
        for bit in range(8 * start, 8 * (start + len(span))):
            data = bytearray(DATA)
            data[bit // 8] ^= 1 << bit % 8
            with pytest.raises(CheckpointError):
                read_bytes(bytes(data), place)


def test_a_file_that_was_cut_is_refused_wherever_it_was(place: Path) -> None:
    for length in [*range(0, len(DATA), 97), *range(len(DATA) - 64, len(DATA))]:
        with pytest.raises(CheckpointError, match="model.pt.*damaged.*use another copy"):
            read_bytes(DATA[:length], place)


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04" + bytes(50), bytes(1000), b"\x80\x02."])
def test_files_of_others_are_refused(data: bytes, place: Path) -> None:
    with pytest.raises(CheckpointError, match="damaged|not written by the workbench"):
        read_bytes(data, place)


def test_files_of_torch_that_are_not_ours_are_refused(place: Path) -> None:
    for other in ({"weight": torch.ones(2)}, torch.ones(2), [1, 2], {"kind": "model"}):
        torch.save(other, place)
        with pytest.raises(CheckpointError, match="was not written by the workbench"):
            files.read(place, "model")


@pytest.mark.parametrize("content", [None, [1], {"a": torch.zeros(2).to_sparse()}, {"a": torch.zeros(1).expand(2**55)}])
def test_content_of_a_kind_that_is_never_written_is_refused(content: Any, place: Path) -> None:
    torch.save({"kind": "model", "format": 1, "checksum": 0, "content": content}, place)
    with pytest.raises(CheckpointError, match="its checksum does not match"):
        files.read(place, "model")


def test_another_kind_and_a_newer_format_say_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(place, DATA)
    with pytest.raises(CheckpointError, match="checkpoint file .* is a model file; a checkpoint file is needed here"):
        files.read(place, "checkpoint")
    monkeypatch.setattr(files, "FORMAT", 2)
    newer = files.pack("model", EXAMPLE)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"written by a newer version \(format 2, this one knows 1\); upgrade"):
        read_bytes(newer, place)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model file .*gone.pt': there is no such file"):
        files.read(tmp_path / "gone.pt", "model")
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        files.read(tmp_path, "model")
    with pytest.raises(CheckpointError, match="cannot be read: .*null"):
        files.read(tmp_path / "a\0b", "model")
    with pytest.raises(CheckpointError, match=r"there is no folder .*nowhere'; make it first"):
        files.write(tmp_path / "nowhere" / "model.pt", DATA)
    with pytest.raises(CheckpointError, match="Is a directory|Not a directory|exists"):
        files.write(tmp_path, DATA)
    assert list(tmp_path.iterdir()) == []


# --- malice ---------------------------------------------------------------------------------------------------------


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_malicious_file_is_refused_and_nothing_of_it_runs(form: str, inside: bool, place: Path) -> None:
    marker = place.with_name("marker")
    evil: Any = Malicious(marker)
    if inside:
        evil = {"kind": "model", "format": 1, "checksum": 0, "content": {"weights": torch.ones(2), "config": evil}}
    if form == "pickle":
        place.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, place, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(CheckpointError, match="could run code.*rejected, and nothing in it was executed|damaged"):
        files.read(place, "model")
    assert not marker.exists()
    if form != "pickle":  # the file does what it is meant to where it is read carelessly
        torch.load(place, weights_only=False)
        assert marker.exists()


# --- a full disk ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["write", "fsync", "replace"])
@pytest.mark.parametrize(("code", "passing"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    at: str, code: int, passing: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(place, DATA)

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    usual = os.write
    half = {"write": lambda file, data: (usual(file, data[:100]), fail())}
    monkeypatch.setattr(os, at, half.get(at, fail))
    with pytest.raises(CheckpointError, match="full; free some space" if passing else "Input/output error") as caught:
        files.write(place, files.pack("model", {"new": torch.ones(1000)}))
    monkeypatch.undo()
    assert caught.value.passing is passing
    assert list(place.parent.iterdir()) == [place]
    assert same(files.read(place, "model"), EXAMPLE)


def test_an_interrupt_leaves_the_old_file_and_nothing_else(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(place, DATA)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write(place, files.pack("model", {}))
    assert list(place.parent.iterdir()) == [place]
    assert place.read_bytes() == DATA
