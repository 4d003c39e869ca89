"""Relative log amplitude against numpy, one map and one frequency at a time."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naslora.analysis.frequency import at_frequency, frequencies
from naslora.analysis.log_amplitude import relative_log_amplitudes

LAW = settings(max_examples=10, deadline=None, database=None)


def by_loops(maps: np.ndarray) -> np.ndarray:
    """The Fourier sum written out at the frequencies (k, k), k = 0 to half of the side."""
    B, C, N, _ = maps.shape
    curves = np.zeros((B, math.ceil(N / 2)))
    for b in range(B):
        for k in range(math.ceil(N / 2)):
            for c in range(C):
                term = sum(
                    maps[b, c, y, x] * cmath.exp(-2j * math.pi * k * (x + y) / N)
                    for y in range(N)
                    for x in range(N)
                )
                curves[b, k] += math.log(abs(term) + 1e-6) / C
    return curves - curves[:, :1]


@pytest.mark.parametrize("side", [1, 2, 5, 6, 8])
def test_against_the_sum_written_out(side: int) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, side, side)) + 0.5
    found = relative_log_amplitudes(torch.from_numpy(maps))
    np.testing.assert_allclose(found.numpy(), by_loops(maps), rtol=1e-9, atol=1e-9)


def test_against_numpy_as_the_authors_write_it() -> None:
    maps = np.random.default_rng(1).normal(size=(3, 4, 14, 14)).astype(np.float32) + 1
    curve = np.log(np.abs(np.fft.fft2(maps)) + 1e-6)
    curve = np.roll(curve, (7, 7), axis=(-2, -1)).mean(axis=(0, 1))
    curve = np.diagonal(curve)[7:]
    found = relative_log_amplitudes(torch.from_numpy(maps)).mean(0)
    np.testing.assert_allclose(found.numpy(), curve - curve[0], atol=2e-4)


def test_constant_features_hold_no_detail() -> None:
    curve = relative_log_amplitudes(torch.full((1, 2, 8, 8), 3.0))
    assert float(curve[0, 0]) == 0
    floor = math.log(1e-6) - math.log(3 * 64)
    np.testing.assert_allclose(curve[0, 1:].numpy(), floor, atol=0.1)
    np.testing.assert_allclose(relative_log_amplitudes(torch.zeros(1, 2, 8, 8)).numpy(), 0)


def test_a_diagonal_wave_shows_at_its_frequency_alone() -> None:
    grid = torch.arange(16.0)
    wave = torch.cos(2 * math.pi * 5 * (grid[:, None] + grid) / 16) + 0.01
    curve = relative_log_amplitudes(wave[None, None])[0]
    assert int(curve.argmax()) == 5
    assert float(curve[5]) == pytest.approx(math.log(0.5 / 0.01), abs=1e-2)
    assert float(np.delete(curve.numpy(), [0, 5]).max()) < -5


@LAW
@given(st.floats(0.5, 50), st.integers(0, 2**31))
def test_the_scale_of_features_does_not_matter(scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(1, 3, 8, 8, generator=generator, dtype=torch.float64) + 1
    mine, scaled = relative_log_amplitudes(maps), relative_log_amplitudes(scale * maps)
    torch.testing.assert_close(mine, scaled, atol=1e-4, rtol=0)


@LAW
@given(st.integers(0, 2**31))
def test_blurring_lowers_high_frequencies(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(1, 6, 16, 16, generator=generator)
    near = [maps.roll(shift, axis) for axis in (2, 3) for shift in (-1, 1)]
    blurred = (maps + sum(near)) / 5
    sharp, soft = relative_log_amplitudes(maps)[0], relative_log_amplitudes(blurred)[0]
    assert float((sharp - soft)[1:].min()) > 0


def test_values_between_frequencies() -> None:
    curve = np.array([[0.0, -1.0, -3.0], [0.0, 2.0, 4.0]])
    np.testing.assert_allclose(frequencies(3), [0, 0.5, 1])
    for share in (0.0, 0.2, 0.5, 0.7, 1.0):
        expected = [np.interp(share, [0, 0.5, 1], row) for row in curve]
        np.testing.assert_allclose(at_frequency(curve, share), expected)
    assert at_frequency([0.0], 0.4) == 0


def test_maps_must_be_square() -> None:
    with pytest.raises(ValueError, match="square, not 3 x 4"):
        relative_log_amplitudes(torch.zeros(1, 1, 3, 4))
