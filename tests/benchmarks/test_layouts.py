"""The forms of a step that `benchmarks/layouts.py` compares compute the same gradients."""

from __future__ import annotations

import layouts
import pytest
import torch


@pytest.mark.parametrize(
    ("form", "device"),
    [
        ("channels_last", "cpu"),
        pytest.param("channels_last", "cuda", marks=pytest.mark.gpu),
        pytest.param("graph", "cuda", marks=pytest.mark.gpu),
    ],
)
@pytest.mark.parametrize("method", layouts.METHODS)
def test_gradients_are_those_of_the_plain_step(method: str, form: str, device: str) -> None:
    size = ["--backbone", "tiny", "--image-size", "64", "--threads", "1", "--device", device]

    def gradients(chosen: str) -> list[torch.Tensor | None]:
        options = layouts.parse([*size, "--method", method, "--form", chosen])
        step = layouts.job(options)
        step()
        return list(step())  # type: ignore[call-overload]

    plain, other = gradients("plain"), gradients(form)
    assert [g is None for g in plain] == [g is None for g in other]
    pairs = [(a, b) for a, b in zip(plain, other, strict=True) if a is not None and b is not None]
    assert max(float(a.abs().max()) for a, _ in pairs) > 0
    for a, b in pairs:
        torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-5)
