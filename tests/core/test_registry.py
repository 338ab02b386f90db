"""Whose choices a name means: the default ones, those of one Workbench, or those that a run was made with."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest
import torch

import workbench as wb
from workbench.core.registry import LOSSES, MODELS, OPTIMIZERS, Scoped, UserChoices, user_choices


def narrow(task: object, *, width: int = wb.IntRange(2, 8, default=4)) -> None:  # type: ignore[assignment]
    """A builder that is never called here."""


def wide(task: object, *, width: int = wb.IntRange(100, 200, default=100), depth: int = wb.IntRange(1, 3)) -> None:  # type: ignore[assignment]
    """Another one."""


@pytest.fixture(autouse=True)
def unregistered() -> Iterator[None]:
    yield
    MODELS.unregister("of_registry")


def with_model(builder: object) -> UserChoices:
    made = user_choices().for_workbench()
    with made.active():
        wb.register_model("of_registry", builder)  # type: ignore[arg-type]
    return made


def test_a_copy_keeps_what_was_registered_when_it_was_made() -> None:
    wb.register_model("of_registry", narrow)
    copied = user_choices().copy()
    wb.register_model("of_registry", wide)
    assert MODELS["of_registry"].value is wide
    with copied.active():
        assert MODELS["of_registry"].value is narrow
        assert list(MODELS) == ["mlp", "cnn", "of_registry"]
        MODELS.unregister("of_registry")
        assert "of_registry" not in MODELS
    assert MODELS["of_registry"].value is wide


def test_a_name_that_is_registered_later_is_copied_at_its_first_use() -> None:
    bench, run = user_choices().for_workbench(), user_choices().copy()
    wb.register_model("of_registry", narrow)
    with bench.active():
        assert list(MODELS) == ["mlp", "cnn", "of_registry"]
        assert wb.Config(model="of_registry").width == 4
    wb.register_model("of_registry", wide)
    with bench.active():
        assert wb.Config(model="of_registry").width == 4
        assert bench.replaced("model", "of_registry") == (narrow, wide)
    with run.active(), pytest.raises(wb.ConfigError, match="model='of_registry': must be one of"):
        wb.Config(model="of_registry")
    with bench.active(), pytest.raises(wb.ConfigError, match="model='mihe': must be one of"):
        wb.Config(model="mihe")


def test_two_owners_of_one_name_do_not_meet() -> None:
    one, other = with_model(narrow), with_model(wide)
    with one.active():
        assert wb.Config(model="of_registry").width == 4
        with pytest.raises(wb.ConfigError, match="depth"):
            wb.Config(model="of_registry", depth=2)
    with other.active():
        assert wb.Config(model="of_registry").width == 100
    with (
        user_choices().for_workbench().active(),
        pytest.raises(wb.ConfigError, match="model='of_registry': must be one of"),
    ):
        wb.Config(model="of_registry")


def test_outside_a_config_may_be_for_any_of_them_and_is_checked_where_it_arrives() -> None:
    one, other = with_model(narrow), with_model(wide)
    default, small = wb.Config(model="of_registry"), wb.Config(model="of_registry", width=3)
    with one.active():
        assert default.checked().width == 4
        assert small.checked().width == 3
        assert default.replace(epochs=2).checked().width == 4
    with other.active():
        assert default.checked().width == 100
        with pytest.raises(wb.ConfigError, match="width=3"):
            small.checked()
    with pytest.raises(wb.ConfigError, match="width=50"):
        wb.Config(model="of_registry", width=50)  # neither takes it


def test_choices_of_an_owner_that_is_gone_are_unknown() -> None:
    owner = user_choices().for_workbench()
    with owner.active():
        wb.register_model("fleeting", narrow)
    assert wb.Config(model="fleeting").width == 4
    del owner
    gc.collect()
    with pytest.raises(wb.ConfigError, match="model='fleeting': must be one of"):
        wb.Config(model="fleeting")


def test_losses_and_optimizers_are_the_owners_as_well() -> None:
    made = user_choices().for_workbench()
    with made.active():
        wb.register_loss("of_registry", lambda outputs, targets: outputs.sum(1))
        wb.register_optimizer("of_registry", lambda: (torch.optim.SGD, {}))
    assert "of_registry" not in list(LOSSES)
    assert "of_registry" not in list(OPTIMIZERS)
    with made.active():
        assert wb.Config(loss="of_registry", optimizer="of_registry").loss == "of_registry"


def test_threads_do_not_share_what_is_active() -> None:
    made, seen = with_model(narrow), []
    with made.active():
        thread = threading.Thread(target=lambda: seen.append(user_choices() is made))
        thread.start()
        thread.join()
        assert user_choices() is made
    assert seen == [False]


def test_public_methods_of_a_scoped_object_use_the_choices_it_was_made_with() -> None:
    class Handle(Scoped):
        @property
        def builder(self) -> object:
            return MODELS["of_registry"].value

        def models(self) -> list[str]:
            return list(MODELS)

    class Derived(Handle):
        def models(self) -> list[str]:
            return super().models()[::-1]

    with with_model(narrow).active():
        handle = Derived()
    assert handle.builder is narrow
    assert handle.models() == ["of_registry", "cnn", "mlp"]
    assert "of_registry" not in list(MODELS)


def test_a_builder_that_reads_a_field_changes_nothing_for_other_models() -> None:
    slow, fast = wb.Config(learning_rate=0.1), wb.Config(learning_rate=0.2)
    before = slow.configuration
    wb.register_model("of_registry", lambda task, *, learning_rate: None)
    assert slow.uses("learning_rate")
    assert slow.configuration == before != fast.configuration
    assert wb.Config(model="of_registry").uses("learning_rate")
