"""Looking methods up, reading their settings, and putting one on a SAM."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from naslora.core.errors import SettingsError
from naslora.core.validation import Settings
from naslora.methods.registry import adapt, get_method, method_names, register
from naslora.sam.building import Sam


def test_finds_the_methods_of_the_package() -> None:
    assert {"decoder_only", "lora", "nas_lora", "nas_pc_lora"} <= set(method_names())
    assert get_method("nas_pc_lora").title == "NAS-PC-LoRA"


def test_unknown_method_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean nas_lora"):
        get_method("nas_lroa")
    with pytest.raises(SettingsError, match="choose one of"):
        get_method("xyz")


def test_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean rank"):
        get_method("lora").parse({"rnak": 3})


def test_invalid_setting_names_the_method() -> None:
    with pytest.raises(
        SettingsError, match=r"settings of lora: rank: Input should be greater .* \(got 0\)"
    ):
        get_method("lora").parse({"rank": 0})


def test_a_sam_takes_one_method(plain: Callable[..., Sam]) -> None:
    sam = plain()
    adapt(sam, "lora")
    with pytest.raises(ValueError, match="carries lora"):
        adapt(sam, "lora")


def test_a_refused_setting_leaves_the_sam_as_it_was(plain: Callable[..., Sam]) -> None:
    sam = plain()
    with pytest.raises(SettingsError, match="has no block 99"):
        adapt(sam, "lora", {"layers": [99]})
    assert all(parameter.requires_grad for parameter in sam.parameters())
    adapt(sam, "lora")


def test_settings_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError, match=r"settings of mine .* naslora\.core\.validation\.Settings"):
        register("mine", title="Mine", settings=dict)  # type: ignore[arg-type]


@pytest.mark.parametrize("training", [True, False])
def test_new_layers_are_in_the_mode_of_the_sam(plain: Callable[..., Sam], training: bool) -> None:
    sam = plain().train(training)
    adapt(sam, "nas_lora", {"style": "darts"})
    assert {module.training for module in sam.modules()} == {training}


def test_a_new_method_is_one_decorated_function(
    plain: Callable[..., Sam], registries: Callable[[], None]
) -> None:
    class ShiftSettings(Settings):
        tokens: int = 2

    @register("shift", title="Shift", settings=ShiftSettings, identity=False)
    def apply(sam: Sam, settings: Settings) -> None:
        sam.image_encoder.pos_embed.requires_grad_(True)

    with pytest.raises(ValueError, match="shift"):
        register("shift", title="Shift", settings=ShiftSettings)(apply)
    assert "shift" in method_names()
    sam = plain()
    adaptation = adapt(sam, "shift", {"tokens": 5})
    assert adaptation.settings == {"tokens": 5}
    assert sam.image_encoder.pos_embed.requires_grad
    assert not sam.image_encoder.patch_embed.proj.weight.requires_grad


def test_adapting_leaves_the_random_state_alone(plain: Callable[..., Sam]) -> None:
    sam = plain()
    torch.manual_seed(11)
    expected = torch.randn(3)
    torch.manual_seed(11)
    adapt(sam, "nas_lora", seed=5)
    assert torch.equal(torch.randn(3), expected)
