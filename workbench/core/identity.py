"""The identity of a user's function: what its result depends on, in one digest.

It is a digest of the syntax tree of the function and of every function, class and plain value of the user's own that it refers
to: defaults, closures, globals, and attributes of the user's modules. Formatting, comments, docstrings and
annotations do not count.
Objects of installed libraries count by their qualified name. Where there is no source text (code read from standard input,
`exec`), the code object stands in for the syntax tree.
"""

from __future__ import annotations

import ast
import dataclasses
import dis
import enum
import functools
import hashlib
import inspect
import linecache
import os
import site
import sys
import sysconfig
import textwrap
import threading
import types
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["identity_of"]

OWN_PACKAGE = __name__.partition(".")[0]
CHANGING = frozenset({"add", "append", "clear", "extend", "insert", "pop", "remove", "setdefault", "update"})
"""Methods that change a container: one that a function changes is a record that it keeps, and no part of what it does."""
_TREES: weakref.WeakKeyDictionary[types.FunctionType | type, ast.AST | None] = weakref.WeakKeyDictionary()
_PARSING = threading.Lock()
LARGE = 64
"""Of a container with more entries only so many, from both ends, and the length count."""


def identity_of(function: object) -> str:
    """The identity of a function or class, as 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in _parts(function, {}):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:16]


def _parts(value: object, seen: dict[int, tuple[int, object]]) -> Iterator[str]:
    """What counts of an object, as texts. seen: each object met before with its place, so that cycles end. It holds the objects,
    temporary ones too, since the id of one that was freed can be that of another."""
    if isinstance(value, (int, float, complex, str, bytes, bool, type(None), type(Ellipsis))):
        yield f"{type(value).__name__} {value!r}"
        return
    if id(value) in seen:
        yield f"again {seen[id(value)][0]}"
        return
    seen[id(value)] = len(seen), value
    if isinstance(value, types.MethodType):
        yield "method"
        yield from _parts(value.__func__, seen)
        yield from _parts(value.__self__, seen)
    elif isinstance(value, functools.partial):
        yield "partial"
        for part in (value.func, value.args, value.keywords):
            yield from _parts(part, seen)
    elif isinstance(value, (types.FunctionType, type)) and not _of_library(value):
        yield from _code_parts(value, seen)
    elif isinstance(value, (types.FunctionType, type, types.BuiltinFunctionType)):
        yield f"library {value.__module__}.{value.__qualname__}"
    elif isinstance(value, types.ModuleType):
        yield f"module {value.__name__}"
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}"
        for key, entry in _ends(list(value.items())):
            yield from _parts(key, seen)
            yield from _parts(entry, seen)
    elif isinstance(value, (list, tuple)):
        yield f"{type(value).__name__} {len(value)}"
        for entry in _ends(list(value)):
            yield from _parts(entry, seen)
    elif isinstance(value, (set, frozenset)):
        yield f"set {sorted(map(repr, value))}"
    else:
        yield from _object_parts(value, seen)


def _object_parts(value: object, seen: dict[int, tuple[int, object]]) -> Iterator[str]:
    """An object of a class. Of a library's only what it is made of counts where that is plain: arrays, dataclasses, paths."""
    yield from _parts(type(value), seen)
    if not _of_library(type(value)):
        yield from _parts(vars(value) if hasattr(value, "__dict__") else repr(value), seen)
    elif dataclasses.is_dataclass(value) or isinstance(value, (enum.Enum, os.PathLike)):
        yield repr(value)
    elif hasattr(value, "shape") and hasattr(value, "dtype"):
        yield f"{tuple(value.shape)} {value.dtype}"
        array = (
            value.detach().cpu().numpy() if hasattr(value, "detach") and "bfloat16" not in str(value.dtype) else value
        )
        yield hashlib.sha256(array.tobytes()).hexdigest() if hasattr(array, "tobytes") else repr(value)
    elif type(value).__module__ == "torch":  # a dtype, a device
        yield repr(value)


def _code_parts(value: types.FunctionType | type, seen: dict[int, tuple[int, object]]) -> Iterator[str]:
    """A function or class of the user's own: its syntax tree or code, and all that it refers to."""
    tree = _cached_tree(value)
    functions = [value] if isinstance(value, types.FunctionType) else list(_methods(value))
    if tree is not None:
        yield ast.unparse(tree)  # the same text in each version of Python, unlike a dump of the nodes
    elif isinstance(value, types.FunctionType):
        yield from _compiled(value.__code__)
    if isinstance(value, type):
        yield value.__qualname__
        for base in value.__bases__:
            yield from _parts(base, seen)
        if tree is None:
            plain = {k: v for k, v in vars(value).items() if not k.startswith("__") and not callable(v)}
            yield from _parts(plain, seen)
            for function in functions:
                yield from _compiled(function.__code__)
    for function in functions:
        for default in (function.__defaults__ or (), function.__kwdefaults__ or {}):
            yield from _parts(default, seen)
        for name, entry in _references(function, _indexed(tree)):
            yield name
            yield from _parts(entry, seen)


def _methods(cls: type) -> Iterator[types.FunctionType]:
    """The functions of a class, those behind properties and decorators included."""
    for entry in vars(cls).values():
        inner = getattr(entry, "fget", None) or getattr(entry, "__func__", None) or entry
        if isinstance(inner, types.FunctionType):
            yield inner


def _references(function: types.FunctionType, changed: set[str]) -> Iterator[tuple[str, object]]:
    """What a function refers to by name: cells of its closure, globals, and attributes of modules of the user's own.

    Of those that it changes itself, `changed` among them, only the type.
    """
    changed = changed | _changed(function.__code__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, type(cell.cell_contents) if name in changed else cell.cell_contents
        except ValueError:  # a cell that is filled later, as of a function that refers to itself
            yield name, None
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            entry = function.__globals__[name]
            yield name, type(entry) if name in changed else entry
            if isinstance(entry, types.ModuleType) and not _of_library(entry):
                for attribute in sorted(_names(function.__code__)):
                    if hasattr(entry, attribute):
                        yield attribute, getattr(entry, attribute)


def _names(code: types.CodeType) -> set[str]:
    """The global names and attributes in a code object and in the functions inside it."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


def _changed(code: types.CodeType) -> set[str]:
    """The globals and cells that a code object, or a function inside it, assigns to or changes by a method."""
    found: set[str] = set()
    before = None
    for step in dis.get_instructions(code):
        if step.opname in ("STORE_GLOBAL", "STORE_DEREF"):
            found.add(step.argval)
        elif before is not None and step.opname in ("LOAD_METHOD", "LOAD_ATTR") and step.argval in CHANGING:
            found.add(before)
        before = step.argval if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF") else None
    found -= set(code.co_cellvars)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _changed(constant)
    return found


def _indexed(tree: ast.AST | None) -> set[str]:
    """The names that code assigns to by an index, as in `calls["build"] += 1`."""
    return {
        node.value.id
        for node in ([] if tree is None else ast.walk(tree))
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and not isinstance(node.ctx, ast.Load)
    }


def _cached_tree(value: types.FunctionType | type) -> ast.AST | None:
    """As `_tree`, read once for each object: its code stays what it is when the file is edited.

    One thread at a time: in Python 3.11, two threads that parse at once can end in a SystemError.
    """
    with _PARSING:
        if value not in _TREES:
            _TREES[value] = _tree(value)
        return _TREES[value]


def _tree(value: types.FunctionType | type) -> ast.AST | None:
    """The syntax tree without docstrings and annotations; None without a source text that is certainly its own."""
    if isinstance(value, types.FunctionType) and value.__name__ == "<lambda>":
        return None  # several lambdas can share a line
    file = value.__code__.co_filename if isinstance(value, types.FunctionType) else None
    if file is not None and file.startswith("<") and file not in linecache.cache:
        return None
    if file is not None:
        linecache.checkcache(file)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return None
    if isinstance(value, types.FunctionType) and not _is_its_own(tree, value):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def _is_its_own(tree: ast.Module, function: types.FunctionType) -> bool:
    """Whether a source text is that of the function: a file may have been edited since it was imported."""
    if not tree.body or not isinstance(tree.body[0], (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    node = tree.body[0]
    if node.name != function.__code__.co_name:
        return False
    names = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    names |= {a.name for n in ast.walk(node) if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names}
    return set(function.__code__.co_names) <= names | {n.partition(".")[0] for n in names}


def _compiled(code: types.CodeType) -> Iterator[str]:
    """What a code object does, without line numbers and file names."""
    yield code.co_code.hex()
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_argcount, code.co_flags))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _compiled(constant)
        else:
            yield repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)


def _ends(entries: list[Any]) -> list[Any]:
    return entries if len(entries) <= LARGE else [*entries[: LARGE // 2], *entries[-LARGE // 2 :]]


@functools.cache
def _library_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    folders = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()]
    return tuple(Path(folder).resolve() for folder in dict.fromkeys(folders))


def _of_library(value: object) -> bool:
    """Whether an object or module comes with Python, an installed package or this one."""
    name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    if name is None:
        return True
    if name == "__main__":  # cells and scripts, whichever program runs them
        return False
    top = name.partition(".")[0]
    if top in sys.builtin_module_names or top in sys.stdlib_module_names or top == OWN_PACKAGE:
        return True
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None:
        return False
    return any(Path(file).resolve().is_relative_to(folder) for folder in _library_folders())
