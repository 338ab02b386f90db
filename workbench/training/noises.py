"""The random numbers of a cohort's forward passes: one generator for each of its shards."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from workbench.models import SeededRandomness
from workbench.training.state import NOISE_SEED

__all__ = ["Noises"]


class Noises:
    """Contexts in which torch draws from a shard's generator: for all its trials at once, equal in distribution to each alone.

    seed: of the cohort. seeded: whether its module may draw at all.
    """

    def __init__(self, seed: int, seeded: bool, device: torch.device) -> None:
        self.seed, self._seeded, self._device = seed, seeded, device
        self._made: list[AbstractContextManager[object]] = []

    def of(self, shard: int) -> AbstractContextManager[object]:
        """The context of a shard, by its place in the cohort."""
        while len(self._made) <= shard:
            generator = torch.Generator(self._device).manual_seed(self.seed + len(self._made) * NOISE_SEED)
            self._made.append(SeededRandomness(generator) if self._seeded else nullcontext())
        return self._made[shard]

    def states(self) -> list[Tensor]:
        """The states of the generators so far."""
        return [noise.generator.get_state() for noise in self._made if isinstance(noise, SeededRandomness)]

    def restore(self, states: Sequence[Tensor]) -> None:
        """Continue from these states."""
        for shard, state in enumerate(states):
            noise = self.of(shard)
            if isinstance(noise, SeededRandomness):
                noise.generator.set_state(state)
