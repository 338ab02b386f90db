"""Fitted scikit-learn objects as bytes that can be read without running what they hold: skops in place of pickle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.core.errors import CheckpointError

__all__ = ["HARMLESS", "from_tensor", "to_tensor"]

HARMLESS = (
    "numpy.dtype",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "scipy.sparse._csc.csc_array",
    "scipy.sparse._csc.csc_matrix",
    "scipy.sparse._csr.csr_array",
    "scipy.sparse._csr.csr_matrix",
    "sklearn.feature_selection._mutual_info.mutual_info_classif",
    "sklearn.feature_selection._mutual_info.mutual_info_regression",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
)
"""What scikit-learn's own transformers consist of and skops does not trust by itself: types and functions that compute."""


def to_tensor(estimator: Any, what: str) -> Tensor:
    """A fitted estimator as a uint8 vector. what: how messages call it.

    Raises: CheckpointError if it holds something that could not be read again, such as a lambda.
    """
    import skops.io  # type: ignore[import-untyped]

    remedy = "define its functions and classes at the top level of a module, or use scikit-learn's own transformers"
    try:
        data = skops.io.dumps(estimator)
        names = skops.io.get_untrusted_types(data=data)
        private = [name for name in names if "<" in name]
        if not private:
            skops.io.loads(data, trusted=names)  # a class inside a function is found out by this alone
            return torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())
        reason = f"it holds {private[0].rpartition('.')[2]}"
    except Exception as error:  # whatever skops or the estimator's own code raises
        reason = f"{type(error).__name__}: {error}"
    raise CheckpointError(f"{what} cannot be saved ({reason}); {remedy}")


def from_tensor(data: Tensor, trusted: Sequence[str], what: str) -> Any:
    """What `to_tensor` made, fitted as it was. trusted: names of classes and functions beyond scikit-learn's and NumPy's.

    Raises: CheckpointError naming what is not trusted, none of which was then imported or run, or cannot be imported.
    """
    import skops.io

    names = [trusted] if isinstance(trusted, str) else list(trusted)
    content = data.numpy().tobytes()
    try:
        unknown = [name for name in skops.io.get_untrusted_types(data=content) if name not in {*HARMLESS, *names}]
    except Exception as error:
        raise CheckpointError(f"{what} cannot be read: {type(error).__name__}: {error}") from None
    if unknown:
        raise CheckpointError(
            f"{what} holds {', '.join(unknown)}, which can run code of its own; if you trust where the file comes from: "
            f"wb.load_model(path, trusted={[*names, *unknown]!r})"
        )
    try:
        return skops.io.loads(content, trusted=[*HARMLESS, *names])
    except (ImportError, AttributeError) as error:
        message = f"{what} cannot be made again: {error}; import or define the classes it consists of first"
        raise CheckpointError(message) from error
    except Exception as error:
        raise CheckpointError(f"{what} cannot be made again: {type(error).__name__}: {error}") from error
