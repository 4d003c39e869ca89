from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from naslora.core.errors import DiskError
from naslora.training.resume.checkpoints import Checkpoints

RUN = {"settings": "a", "checkpoint": None}


def state(value: float = 1.0) -> dict[str, Any]:
    """All kinds of values that a run's state contains."""
    return {
        "model": {"a.weight": torch.full((2, 3), value), "b": torch.tensor(value)},
        "optimiser": {
            "weights": {
                "state": {0: {"step": torch.tensor(7.0), "exp_avg": torch.randn(5).bfloat16()}},
                "param_groups": [{"lr": 0.1 + 0.2, "betas": [0.9, 0.999], "foreach": None}],
            },
            "architecture": None,
        },
        "random": torch.arange(16, dtype=torch.uint8),
        "empty": {"tensor": torch.zeros(0), "list": [], "mapping": {}},
        "tensor": "a text",
        "flag": True,
    }


def same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor):
        return (
            first.dtype == second.dtype
            and first.shape == second.shape
            and first.reshape(-1).view(torch.uint8).tolist()
            == second.reshape(-1).view(torch.uint8).tolist()
        )
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second) and type(first) is type(second)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def last(folder: Path) -> Path:
    return folder / names(folder)[-1]


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved = state()
    saved["model"]["odd"] = torch.tensor([float("nan"), -0.0, float("inf"), 1e-45])
    Checkpoints(tmp_path, RUN).save(12, saved)
    loaded = Checkpoints(tmp_path, RUN).load()
    assert same(loaded, saved)


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=12,
    )
)
def test_any_json_value_comes_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    folder = tmp_path_factory.mktemp("state")
    Checkpoints(folder, RUN).save(1, {"value": value})
    assert same(Checkpoints(folder, RUN).load(), {"value": value})


def test_two_are_kept_and_the_last_is_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, RUN)
    assert checkpoints.load() is None
    for steps in (9, 10, 99, 100):
        checkpoints.save(steps, {"steps": steps})
    assert [int(name.split("-")[2]) for name in names(tmp_path)] == [99, 100]
    assert Checkpoints(tmp_path, RUN).load() == {"steps": 100}
    checkpoints.remove()
    assert names(tmp_path) == []


def test_what_a_run_depends_on_tells_checkpoints_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**RUN, "settings": "b"}
    Checkpoints(tmp_path, RUN).save(50, {"run": "a"})
    assert Checkpoints(tmp_path, other).load() is None
    assert "of other settings, images, weights or versions" in capsys.readouterr().out
    for steps in (1, 2, 3):
        Checkpoints(tmp_path, other).save(steps, {"run": "b"})
    assert len(names(tmp_path)) == 3
    assert Checkpoints(tmp_path, RUN).load() == {"run": "a"}
    assert Checkpoints(tmp_path, other).load() == {"run": "b"}
    (first,), (second,) = tmp_path.glob("*-000000050-*"), tmp_path.glob("*-000000003-*")
    identity, digest = second.name.split("-")[1], first.name.split("-")[3]
    first.rename(tmp_path / f"checkpoint-{identity}-000000099-{digest}")
    assert Checkpoints(tmp_path, other).load() == {"run": "b"}
    assert "is of another run" in capsys.readouterr().out


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_one_falls_back_to_the_one_before(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any byte of any region: names, shapes, numbers, the archive's directory."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    checkpoints, before = Checkpoints(tmp_path, RUN), state(1.0)
    checkpoints.save(1, before)
    checkpoints.save(2, state(2.0))
    path = last(tmp_path)
    whole = path.read_bytes()
    for place in [*range(16), *draw.sample(range(len(whole)), 60)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        assert same(checkpoints.load(), before)
        printed = capsys.readouterr().out
        assert "this checkpoint is damaged: its SHA-256 differs" in printed
        assert f"where: {path}" in printed
        assert not path.exists()


def test_a_file_that_would_run_code_is_not_loaded(tmp_path: Path) -> None:
    """Even with the right digest in its name: only tensors and plain values are read."""

    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.save(1, {"x": Malicious()})
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        checkpoints.load()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, 2000, -1])
def test_a_truncated_one_falls_back(tmp_path: Path, kept: int) -> None:
    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.save(1, state(1.0) | {"long": torch.arange(500)})
    before = checkpoints.load()
    checkpoints.save(2, state(2.0) | {"long": torch.arange(500)})
    path = last(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    assert same(checkpoints.load(), before)
    assert len(names(tmp_path)) == 1


def test_when_both_are_damaged_the_run_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.save(1, state())
    checkpoints.save(2, state())
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    assert checkpoints.load() is None
    assert capsys.readouterr().out.count("this checkpoint is damaged") == 2


def test_one_of_two_is_enough(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.save(1, {"steps": 1})
    checkpoints.save(2, {"steps": 2})
    last(tmp_path).unlink()
    assert checkpoints.load() == {"steps": 1}


def test_what_cannot_be_read_now_is_not_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path, RUN)
    checkpoints.save(1, {"steps": 1})

    def fails(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("naslora.training.resume.checkpoints.sha256", fails)
        with pytest.raises(OSError, match="Input/output error"):
            checkpoints.load()
    assert checkpoints.load() == {"steps": 1}


def test_a_full_disk_leaves_those_before(tmp_path: Path, mounted: Callable[[int], Path]) -> None:
    disk = mounted(256)
    checkpoints = Checkpoints(disk, RUN)
    for steps in (1, 2):
        checkpoints.save(steps, {"steps": steps, "weights": torch.zeros(20_000)})
    before = names(disk)
    with pytest.raises(DiskError, match=r"cannot write checkpoint-.*: No space left"):
        checkpoints.save(3, {"weights": torch.zeros(30_000)})
    assert names(disk) == before
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded["steps"] == 2


def test_dvc_ignores_checkpoints_and_nothing_that_is_a_result(tmp_path: Path) -> None:
    from pathspec import GitIgnoreSpec

    text = (Path(__file__).parents[3] / ".dvcignore").read_text(encoding="utf-8")
    ignored = GitIgnoreSpec.from_lines(text.splitlines())
    Checkpoints(tmp_path, RUN).save(4, state())
    run = "results/paper/runs/kvasir/lora/seed0"
    (name,) = names(tmp_path)
    assert ignored.match_file(f"{run}/{name}")
    assert not any(map(ignored.match_file, (f"{run}/adapter.safetensors", f"{run}/training.json")))
