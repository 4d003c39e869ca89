from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from naslora.core.errors import SettingsError
from naslora.planning.resolve import check_names, check_settings
from naslora.study.settings import load_study


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"methods": ["lorra"]}, "did you mean lora?"),
        ({"networks": ["unt"]}, "did you mean unet?"),
        ({"method_settings": {"lorra": {}}}, "method_settings of study"),
        ({"tasks": ["kvasi"]}, "did you mean kvasir?"),
        ({"generated": {"kvasi": 3}}, "generated of study"),
        ({"bundles": ["cvc_clinic"]}, "bundles of study"),
        ({"variants": {"mine": {"method": "nas_lor"}}}, "variants.mine.method"),
        ({"variants": {"mine": {"method": "lora", "tasks": ["leav"]}}}, "variants.mine.tasks"),
    ],
)
def test_unknown_names_are_refused(overrides: dict[str, Any], message: str) -> None:
    study = load_study("paper", overrides)
    with pytest.raises(SettingsError) as caught:
        check_names(study)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        {"method_settings": {"lora": {"rank": 0}}},
        {"method_settings": {"lora": {"ranks": 3}}},
        {"variants": {"mine": {"method": "lora", "settings": {"rank": "three"}}}},
    ],
)
def test_settings_of_methods_are_checked_before_a_run(overrides: dict[str, Any]) -> None:
    study = load_study("paper", overrides)
    check_names(study)
    with pytest.raises(SettingsError, match="rank"):
        check_settings(study)


@pytest.mark.parametrize("study", ["rehearsal", "sample", "workstation", "paper"])
def test_shipped_studies_pass(study: str) -> None:
    check_settings(load_study(study))


def test_checking_names_does_not_import_torch() -> None:
    code = (
        "import sys; from naslora.study.settings import load_study;"
        "from naslora.planning.resolve import check_names; check_names(load_study('paper'));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
