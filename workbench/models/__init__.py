"""Built-in architectures and the registry that also takes the user's own."""

from workbench.models.backbone import Backbone, register_backbone
from workbench.models.build import (
    build_model,
    builder_identity,
    builder_source,
    code_of,
    count_parameters,
    former_builder,
    is_builtin,
    is_library_builder,
    is_penalised,
    probe,
    read_source,
)
from workbench.models.builtin import DataShape, cnn, mlp
from workbench.models.forward_state import ForwardState, attribute_differences, observe
from workbench.models.layer_groups import layer_groups
from workbench.models.pretrained import Affine, Pretrained
from workbench.models.randomness import SeededRandomness, draws_random_numbers
from workbench.models.stacking import stacked_forward
from workbench.models.trial_backbones import SOURCE_NAME, Facts, Source, restore_sources, source_of, why_unusable
from workbench.models.weights import load_weights

__all__ = [
    "SOURCE_NAME",
    "Affine",
    "Backbone",
    "DataShape",
    "Facts",
    "ForwardState",
    "Pretrained",
    "SeededRandomness",
    "Source",
    "attribute_differences",
    "build_model",
    "builder_identity",
    "builder_source",
    "cnn",
    "code_of",
    "count_parameters",
    "draws_random_numbers",
    "former_builder",
    "is_builtin",
    "is_library_builder",
    "is_penalised",
    "layer_groups",
    "load_weights",
    "mlp",
    "observe",
    "probe",
    "read_source",
    "register_backbone",
    "restore_sources",
    "source_of",
    "stacked_forward",
    "why_unusable",
]
