"""New modules like the one that a cohort trains: to try out what it does, and to compare a trained model with what was measured.

The module that trains is never used for either: a pass more would change what it keeps in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from workbench.core.config import Config
from workbench.core.registry import MODELS
from workbench.models import Backbone, ForwardState, attribute_differences, build_model, observe, stacked_forward
from workbench.training.agreement import MISMATCH, disagreement, sample_rows
from workbench.training.endings import out_of_memory
from workbench.training.filling import constants_of, filled
from workbench.training.preparation import OBSERVED
from workbench.training.row import Row, TaskData
from workbench.training.stages import Inputs, trained_part
from workbench.training.state import Weights

__all__ = ["Rebuilt"]


class Rebuilt:
    """Modules like the one that trains, on its device.

    config: of the trial that the training module was built for. size: number of parameters that train. inputs: of the module.
    known: whether it is a sequence of library layers only, which keep nothing but parameters and buffers.
    """

    def __init__(
        self,
        task: TaskData,
        config: Config,
        module: nn.Module,
        inputs: Inputs,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._task, self._config, self._inputs = task, config, inputs
        self._size = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
        self._device, self._dtype = device, dtype
        self._twin: nn.Module | None = None
        self._is_pretrained = isinstance(MODELS[config.model].value, Backbone)
        self.known = stacked_forward(module) is not None

    def part(self, config: Config) -> nn.Module:
        """What trains of a model, before its first step."""
        return trained_part(build_model(self._task, config).to(self._device, self._dtype), self._size)

    @cached_property
    def forward_state(self) -> ForwardState:
        """What the module's forward pass changes. Raises: ModelError, see `observe`."""
        if self.known:
            return ForwardState()
        few = self._inputs.through(self._inputs.x[: min(OBSERVED, len(self._inputs.x))])
        return observe(self.part(self._config), few, self._config.model)

    @property
    def warning(self) -> str:
        """What of the model's state no checkpoint holds, in words; "" for nothing."""
        warning = self.forward_state.warning
        return warning and f"model {self._config.model!r}: {warning}"

    def stacking_error(self, one: Config, other: Config, try_out: Callable[[nn.Module], object]) -> str:
        """Why two trials cannot be rows of one module, "" if they can.

        try_out: takes a new module and raises if it cannot be vectorised.
        """
        if reason := self.forward_state.unstackable:
            return reason
        first, second = self.part(one), self.part(other)
        if one.seed != other.seed and (drawn := attribute_differences(first, second)):
            return f"its attribute {drawn[0]!r} depends on the seed and is not a buffer: all trials would have the same"
        try:
            try_out(first)
        except Exception as error:  # whatever a user's module raises under vmap
            return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error) else 'no message'}"
        return ""

    @torch.no_grad()
    def mismatch(self, row: Row, places: Tensor | None = None) -> str:
        """How the model of a row's best weights differs from the measured one, see `disagreement`.

        places: of the validation rows that were measured, if it is not a sample of all of them.
        """
        best = row.best
        if best is None or best.outputs is None:
            return ""
        x = self._inputs.x_val
        places = sample_rows(len(x), best.outputs[0].numel()) if places is None else places
        x = x[places.to(x.device)]
        if self.known and not self._is_pretrained:
            return disagreement(self._shared(best), x, best.outputs, self._device.type, parts=1)
        try:
            module = filled(build_model(self._task, row.config), best)
            if self._inputs.features is not None:
                module = trained_part(module, best.vector.numel())
            module = module.to(self._device).eval()
        except Exception as error:  # whatever a user's builder raises at its next call
            return "" if out_of_memory(error) else f"{MISMATCH}: building it raised {type(error).__name__}: {error}"
        return disagreement(module, x, best.outputs, self._device.type)

    def _shared(self, weights: Weights) -> nn.Module:
        """A module of library layers, which are alike for all trials, that points at a trial's weights; faster than a new one."""
        if self._twin is None:
            self._twin = build_model(self._task, self._config).to(self._device, self._dtype).eval()
        start = 0
        for parameter in self._twin.parameters():
            if parameter.requires_grad:
                parameter.data = weights.vector[start : start + parameter.numel()].view(parameter.shape)
                start += parameter.numel()
        for (_, own), value in zip(list(constants_of(self._twin)), weights.buffers.values(), strict=True):
            own.copy_(value)
        return self._twin
