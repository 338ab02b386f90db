"""Files of tensors and plain values: written whole or not at all, read without ever running what they hold.

Each is an ordinary `torch.save` file that `torch.load(path, weights_only=True)` opens. torch does not verify the checksums
of its own format, so the file also holds a checksum of the content: a flipped bit is detected.
"""

from __future__ import annotations

import errno
import io
import os
import pickle
import threading
import warnings
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workbench.core.errors import CheckpointError

__all__ = ["pack", "read", "write"]

FORMAT = 1
FULL = (errno.ENOSPC, errno.EDQUOT)
PLAIN = (bool, int, float, str, type(None))


def pack(kind: str, content: Mapping[str, Any]) -> memoryview:
    """A file's bytes. kind: "checkpoint", "model"... content: nested dicts and lists of tensors, numbers, text and None.

    Raises: CheckpointError naming the entry that is anything else, which `read` would reject.
    """
    plain = _plain(content, "")
    buffer = io.BytesIO()
    torch.save({"kind": kind, "format": FORMAT, "checksum": _checksum(plain, 0), "content": plain}, buffer)
    return buffer.getbuffer()  # not a copy: fresh memory of this size costs the system more than the copying


def write(path: Path, data: bytes | memoryview, *, through: bool = True) -> None:
    """Replace a file atomically: readers see the old or the new content, complete.

    through: wait until the folder's entry, too, is on the disk. Raises: CheckpointError, with nothing changed; `passing` for
    a full disk.
    """
    temporary = os.path.join(path.parent, f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        try:
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            finally:
                os.close(file)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        if through and os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
            message = f"there is no folder {str(path.parent)!r}; make it first"
            raise CheckpointError(f"{str(path)!r} could not be written: {message}") from None
        if error.errno in FULL:
            message = f"{str(path)!r} could not be written: the disk is full; free some space"
            raise CheckpointError(message, passing=True) from None
        raise CheckpointError(f"{str(path)!r} could not be written: {error.strerror or error}") from None


def read(path: Path, kind: str, *others: str) -> dict[str, Any]:
    """The content of a file that `pack` made, its tensors on the CPU. Nothing in it is run, whatever it holds.

    kind, others: those that will do.

    Raises: CheckpointError when the file is missing, damaged, of another kind, of a newer format, or holds anything but
    tensors and plain values.
    """
    name = f"{kind} file {str(path)!r}"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{name}: there is no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise CheckpointError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "nsupported" in str(error):
            message = "holds something other than tensors and plain values, which could run code when it is read"
            raise CheckpointError(
                f"{name}: {message}, or is damaged; it was rejected, and nothing in it was executed"
            ) from None
        raise CheckpointError(f"{name}: is damaged and was rejected; use another copy") from None
    except Exception:  # whatever torch meets in a file that was cut or altered
        raise CheckpointError(f"{name}: is damaged, or no file of the workbench; use another copy") from None
    if not isinstance(found, dict) or not {"kind", "format", "checksum", "content"} <= found.keys():
        raise CheckpointError(f"{name}: was not written by the workbench")
    if found["kind"] not in (kind, *others):
        raise CheckpointError(f"{name}: is a {found['kind']} file; a {kind} file is needed here")
    if not isinstance(found["format"], int) or found["format"] > FORMAT:
        message = (
            f"was written by a newer version (format {found['format']}, this one knows {FORMAT}); upgrade to read it"
        )
        raise CheckpointError(f"{name}: {message}")
    content = found["content"]
    if not isinstance(content, dict) or not _fits(content, found["checksum"]):
        raise CheckpointError(f"{name}: is damaged (its checksum does not match) and was rejected; use another copy")
    return content


def _plain(value: Any, where: str) -> Any:
    """A copy of plain dicts, lists and values, tensors on the CPU. where: the names that lead to it, for the message."""
    if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized:
        value = value.detach().cpu().resolve_conj().resolve_neg()
        # of a view, torch would write all that lies behind it
        whole = value.is_contiguous() and value.untyped_storage().nbytes() == value.numel() * value.element_size()
        return value if whole else value.clone(memory_format=torch.contiguous_format)
    if isinstance(value, Mapping) and all(type(key) in (str, int) for key in value):
        return {key: _plain(part, f"{where}[{key!r}]") for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [_plain(part, f"{where}[{index}]") for index, part in enumerate(value)]
        return tuple(parts) if isinstance(value, tuple) else parts
    if type(value) not in PLAIN:  # a subclass, such as NumPy's float64, is stored as what runs its class's code
        what = f"a {type(value).__module__}.{type(value).__qualname__}"
        raise CheckpointError(f"content{where} is {what}: a file holds tensors, numbers, text, lists and dicts only")
    return value


def _fits(content: dict[str, Any], checksum: object) -> bool:
    try:
        return _checksum(content, 0) == checksum
    except Exception:  # a tensor or key of a kind that `pack` does not write
        return False


def _checksum(value: Any, so_far: int) -> int:
    """CRC-32 over types, names and values, whatever the order of a dict."""
    if isinstance(value, Tensor):
        so_far = zlib.crc32(f"{value.dtype}{tuple(value.shape)}".encode(), so_far)
        flat = value.contiguous().reshape(-1).view(torch.uint8)
        return zlib.crc32(flat.numpy().data, so_far)
    if isinstance(value, dict):
        for key in sorted(value, key=repr):
            so_far = _checksum(value[key], zlib.crc32(f"{key!r}:".encode(), so_far))
        return zlib.crc32(b"}", so_far)
    if isinstance(value, (list, tuple)):
        for part in value:
            so_far = _checksum(part, so_far)
        return zlib.crc32(b")" if isinstance(value, tuple) else b"]", so_far)
    return zlib.crc32(f"{value!r},".encode(), so_far)
