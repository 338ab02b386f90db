"""How the targets that losses see are made of the target's own values, and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from torch import Tensor

from workbench.core.errors import TaskError, did_you_mean
from workbench.tasks.estimators import from_tensor, to_tensor

__all__ = ["TargetScale"]

NAMES = ("standardize", "log1p")
TOLERANCE = 1e-6
"""Of the deviation of the training targets, by which a transformer's inverse may miss them."""


class TargetScale:
    """The transformation of the targets of a regression, fitted on the training rows.

    how: None: none. "standardize": to mean 0 and deviation 1, each target by itself. "log1p": log(1 + y), which is then
    standardised. Or a scikit-learn transformer with an inverse, cloned, given (rows, outputs). mean, std: (outputs,) float64 by
    which standardising goes; 0 and 1 where nothing is standardised.
    """

    def __init__(self, how: Any = None, outputs: int = 1) -> None:
        self.how = _checked(how)
        self.mean, self.std = torch.zeros(outputs, dtype=torch.float64), torch.ones(outputs, dtype=torch.float64)
        self._estimator: Any = None

    @property
    def name(self) -> str:
        """In words, for people."""
        return "none" if self.how is None else self.how if isinstance(self.how, str) else repr(self.how)

    def fit(self, targets: NDArray[np.float64], field: str = "y") -> TargetScale:
        """Learn from the training targets (rows, outputs). field: how messages call them. Raises: TaskError if they cannot be
        transformed, or not back."""
        if self.how == "log1p" and (targets <= -1).any():
            raise TaskError(
                f"target_transform='log1p': {field} has values down to {targets.min():g}, and log(1 + y) needs values above -1; "
                "use 'standardize', or shift the targets"
            )
        if isinstance(self.how, str):
            values = np.log1p(targets) if self.how == "log1p" else targets
            spread = values.std(0)
            # rounding leaves equal targets a deviation just above 0, which must not be divided by
            spread = np.where(spread > 1e-12 * np.abs(values).max(0), spread, 1.0)
            self.mean, self.std = torch.from_numpy(values.mean(0)), torch.from_numpy(spread)
        elif self.how is not None:
            self._fit_estimator(targets, field)
        return self

    def _fit_estimator(self, targets: NDArray[np.float64], field: str) -> None:
        what = f"target_transform={self.how!r}"
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # what they warn of is checked below
                self._estimator = clone(self.how).fit(targets)
                values = np.asarray(self._estimator.transform(targets), np.float64)
                back = np.asarray(self._estimator.inverse_transform(values), np.float64)
        except Exception as error:
            raise TaskError(
                f"{what}: cannot be fitted to {field} and inverted: {type(error).__name__}: {error}"
            ) from error
        if values.shape != targets.shape or back.shape != targets.shape:
            raise TaskError(
                f"{what}: gives the shape {values.shape} for {field} of {targets.shape}; it must keep the shape"
            )
        if not np.isfinite(values).all():
            raise TaskError(f"{what}: gives values that are NaN or infinite for {field}; choose another transformation")
        missed = np.abs(back - targets).max(0)
        if (missed > TOLERANCE * np.maximum(targets.std(0), np.abs(targets).max(0) * TOLERANCE)).any():
            raise TaskError(
                f"{what}: its inverse misses {field} by up to {missed.max():.3g}, so that no prediction could be given in the "
                "target's own unit; choose a transformation that can be inverted"
            )

    def apply(self, targets: NDArray[Any]) -> Tensor:
        """Targets (rows, outputs) as the losses see them, float32."""
        values = np.asarray(targets, np.float64)
        if self._estimator is not None:
            values = np.asarray(self._estimator.transform(values), np.float64)
        elif isinstance(self.how, str):
            with np.errstate(invalid="ignore", divide="ignore"):
                values = np.log1p(values) if self.how == "log1p" else values
            values = (values - self.mean.numpy()) / self.std.numpy()
        fits = np.abs(values) <= np.finfo(np.float32).max
        if not fits.all():
            bad = np.asarray(targets)[~fits.reshape(len(values), -1).all(1)].flat[0].item()
            raise TaskError(
                f"target_transform={self.how!r}: the target {bad:g} has no finite value after it, in float32; remove such rows "
                "or choose another transformation"
            )
        return torch.from_numpy(values).float()

    def inverse(self, values: Tensor) -> Tensor:
        """What losses see (..., outputs) in the target's own unit, float64."""
        values = values.double()
        if self._estimator is not None:
            flat = values.detach().cpu().numpy().reshape(-1, values.shape[-1])
            finite = np.isfinite(flat).all(1)
            found = np.full_like(flat, np.nan)
            if finite.any():
                found[finite] = self._estimator.inverse_transform(flat[finite])
            return torch.from_numpy(found).view(values.shape)
        if self.how is None:
            return values
        values = values * self.std.to(values.device) + self.mean.to(values.device)
        return torch.expm1(values) if self.how == "log1p" else values

    def to_state(self) -> dict[str, Any]:
        """As plain values and tensors. Raises: CheckpointError for a transformer that cannot be saved."""
        own = None if self._estimator is None else to_tensor(self._estimator, f"target_transform={self.how!r}")
        return {
            "how": self.how if isinstance(self.how, str) else None,
            "mean": self.mean,
            "std": self.std,
            "estimator": own,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], trusted: Sequence[str] = ()) -> TargetScale:
        """What `to_state` described. Raises: CheckpointError naming what in a transformer is not `trusted`."""
        made = cls(state["how"])
        made.mean, made.std = state["mean"], state["std"]
        if state["estimator"] is not None:
            made._estimator = made.how = from_tensor(state["estimator"], trusted, "target_transform=")
        return made


def _checked(how: Any) -> Any:
    """Raises: TaskError for anything but a name, None or a transformer with an inverse."""
    if how is None or (isinstance(how, str) and how in NAMES):
        return how
    if isinstance(how, str):
        known = ", ".join(map(repr, NAMES))
        raise TaskError(f"target_transform={how!r}: must be {known}, None or a transformer{did_you_mean(how, NAMES)}")
    if isinstance(how, type) or not all(hasattr(how, name) for name in ("fit", "transform", "inverse_transform")):
        raise TaskError(
            f"target_transform={how!r}: must be 'standardize', 'log1p', None, or a scikit-learn transformer with fit, transform "
            "and inverse_transform, such as PowerTransformer()"
        )
    try:
        return clone(how)
    except (TypeError, RuntimeError) as error:
        raise TaskError(f"target_transform={how!r}: scikit-learn cannot clone it: {error}") from error
