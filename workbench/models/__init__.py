"""Built-in architectures and the registry that also takes the user's own."""

from workbench.models.build import build_model, builder_source, count_parameters, is_builtin, is_penalised, probe
from workbench.models.builtin import DataShape, cnn, mlp
from workbench.models.randomness import SeededRandomness, draws_random_numbers
from workbench.models.stacking import stacked_forward

__all__ = [
    "DataShape",
    "SeededRandomness",
    "build_model",
    "builder_source",
    "cnn",
    "count_parameters",
    "draws_random_numbers",
    "is_builtin",
    "is_penalised",
    "mlp",
    "probe",
    "stacked_forward",
]
