"""Weights out of local files: safetensors, and torch's state dicts. Nothing in a file is ever run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workbench.core.errors import CheckpointError, ConfigError, Problem

__all__ = ["fill_network", "load_weights"]

WRAPPINGS = ("state_dict", "model_state_dict", "model")
"""Where a checkpoint of a training keeps the state dict, among other things."""
PREFIXES = ("module.", "_orig_mod.")
"""What `nn.DataParallel` and `torch.compile` put before each name."""
SHOWN = 5


def load_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or of a torch state dict, by name, on the CPU.

    A state dict may stand inside a checkpoint, as "state_dict", "model_state_dict" or "model"; "module." and "_orig_mod."
    before all names are taken off. Raises: CheckpointError when the file is missing, damaged, or holds what could run code;
    ConfigError for what is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        message = f"weights={path!r}: give the path of a file, such as 'resnet18.safetensors'"
        raise ConfigError([Problem("weights", path, message)])
    place = Path(path).expanduser()
    if not place.is_file():
        raise CheckpointError(f"weights file {str(place)!r}: there is no such file")
    found = _safetensors(place) if place.suffix == ".safetensors" else _state_dict(place)
    for prefix in PREFIXES:
        if found and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def fill_network(network: nn.Module, weights: Mapping[str, Tensor], head: str, name: str) -> None:
    """Put weights into a network, but for its head, which will be another one. head: its name. name: the file's, for messages.

    Raises: CheckpointError naming what is missing, what is too many, and what has another shape; nothing is changed then.
    """
    own = {key: value for key, value in network.state_dict().items() if not f"{key}.".startswith(f"{head}.")}
    given = {key: value for key, value in weights.items() if not f"{key}.".startswith(f"{head}.")}
    # files of networks from before torch 0.4.1 do not count the batches
    missing = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
    problems = [
        _listed(missing, "the file lacks"),
        _listed([key for key in given if key not in own], "the network has no"),
        _listed(
            [
                f"{key} of shape {tuple(given[key].shape)}, which is {tuple(value.shape)} in the network"
                for key, value in own.items()
                if key in given and given[key].shape != value.shape
            ],
            "the file has",
        ),
    ]
    if any(problems):
        raise CheckpointError(f"weights file {name!r} does not fit the network: {'; '.join(filter(None, problems))}")
    network.load_state_dict(given, strict=False)


def _listed(names: list[str], what: str) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{what} {', '.join(names[:SHOWN])}{more}" if names else ""


def _safetensors(place: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(place)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"weights file {str(place)!r}: is damaged, or no safetensors file ({error})") from None


def _state_dict(place: Path) -> dict[str, Tensor]:
    try:
        found: Any = torch.load(place, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "nsupported" in str(error):
            message = "is damaged, or holds something other than tensors and plain values, which could run code when it is read"
            hint = "it was rejected; save the weights again: torch.save(network.state_dict(), path)"
            raise CheckpointError(f"weights file {str(place)!r}: {message}; {hint}") from None
        raise CheckpointError(f"weights file {str(place)!r}: is damaged, or no file of torch") from None
    except Exception:  # whatever torch meets in a file that was cut or altered
        raise CheckpointError(f"weights file {str(place)!r}: is damaged, or no file of torch") from None
    for name in WRAPPINGS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    tensors = (
        {name: value for name, value in found.items() if isinstance(value, Tensor)}
        if isinstance(found, Mapping)
        else {}
    )
    if not tensors and isinstance(found, Mapping) and found.get("kind") in ("model", "ensemble") and "content" in found:
        remedy = "open it with wb.load_model(path); of a model, .module.state_dict() are the weights"
        raise CheckpointError(
            f"weights file {str(place)!r}: was written by bench.save, and holds a whole model; {remedy}"
        )
    if not tensors:
        raise CheckpointError(f"weights file {str(place)!r}: holds no state dict (names and tensors)")
    return tensors
