"""User-supplied images: fit, compare, and the page, on a few drawn images and a tiny SAM."""

from __future__ import annotations

import html
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from naslora.core.errors import TRY_AGAIN, AuditError, SettingsError, StoppedError
from naslora.data.benchmarks.contract import BENCHMARKS, get_benchmark
from naslora.data.own import OwnOptions
from naslora.evaluation.runs import ADAPTER_NAME, load_run
from naslora.own.example import write_example
from naslora.own.fit import fit
from naslora.own.study import FitOptions, make_study
from naslora.sam.building import build_sam
from naslora.sam.checkpoints import save_checkpoint
from naslora.training import hardware
from naslora.training.progress import EpochProgress

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> FitOptions:
    path = tmp_path_factory.mktemp("sam") / "sam.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_checkpoint(build_sam("tiny", 64), path)
    cpu = {"training.accelerator": "cpu"}
    return FitOptions(image_size=64, epochs=2, checkpoint=str(path), overrides=cpu)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "leaves"
    write_example(folder, count=14)
    return folder


def test_an_example_is_drawn_once(tmp_path: Path, naslora: Run) -> None:
    folder = tmp_path / "few"
    code, output, _ = naslora("example", str(folder), "--count", "2")
    assert (code, output) == (0, f"2 images with masks: {folder}\n")
    mask = np.asarray(Image.open(folder / "masks" / "000.png"))
    assert set(np.unique(mask)) == {0, 255}
    assert mask.shape == Image.open(folder / "images" / "000.jpg").size[::-1]
    with pytest.raises(SettingsError, match="folder is not empty"):
        write_example(folder)


def test_fit_leaves_a_run_and_says_what_it_is_worth(
    images: Path, quick: FitOptions, tmp_path: Path
) -> None:
    out, lines = tmp_path / "run", []
    done = fit(images, out, "lora", quick, lines.append)
    text = "\n".join(lines)
    assert "masks hold the grey levels 0 and 255" in text
    assert "9 train, 2 val, 3 test" in text
    assert done.scores["IoU"] >= 0
    assert done.gain == pytest.approx(done.scores["IoU"] - done.best_control[1])
    assert done.interval is not None
    low, high = done.interval
    assert done.learnt == (low > 0)
    assert ("Something was learnt." in done.summary) == (low > 0)
    assert ("there is no evidence that anything was learnt." in done.summary) == (low <= 0 <= high)
    assert lines[-1] == done.summary
    page = done.report.read_text(encoding="utf-8")
    assert "the number that was measured here. A number links" in page
    assert "the paper" not in page.split("<h2>Tables</h2>")[1].split("<article")[0]
    assert 'id="gallery"' in page  # the best and the worst images
    assert 'id="figures"' in page  # the learning curves
    assert 'id="claims"' not in page  # which are about the paper's tasks
    assert "Table 4" not in page
    # The report reads the result in the same way: in words, and by a dagger at the main metric.
    assert done.summary in html.unescape(re.sub(r"<[^>]+>", "", page))
    row = re.search(r'data-method="lora".*?</tr>', page, re.DOTALL)
    assert row
    iou = next(cell for cell in re.findall(r"<td.*?</td>", row[0], re.DOTALL) if "href" in cell)
    assert f"{done.scores['IoU']:.1f}" in iou
    assert ("\N{DAGGER}" in iou) == (not done.learnt)
    assert ("no better than" in row[0]) == (not done.learnt)
    assert "Read these scores with care" not in page  # which is about studies of benchmarks
    assert load_run(out).sam.classes == 1

    # The same call trains nothing again; another one is refused.
    receipt = out / "own" / "runs" / "leaves" / "lora" / "seed0" / "training.json"
    before = receipt.read_bytes()
    again = fit(images, out, "lora", quick, lines.append)
    assert receipt.read_bytes() == before
    assert again.scores == done.scores

    # A damaged audit is an error; without it, the images are prepared again and not trained on.
    audit = out / "own" / "manifests" / "leaves.audit.json"
    whole = audit.read_bytes()
    audit.write_bytes(whole[:99])
    with pytest.raises(AuditError, match="this audit is damaged"):
        fit(images, out, "lora", quick)
    audit.unlink()
    assert fit(images, out, "lora", quick).scores == done.scores
    assert audit.read_bytes() == whole
    assert receipt.read_bytes() == before
    with pytest.raises(SettingsError, match="run with other settings: methods"):
        fit(images, out, "bitfit", quick)
    other = quick.model_copy(update={"epochs": 3})
    with pytest.raises(SettingsError, match=r"other settings: .*training\.epochs"):
        fit(images, out, "lora", other)


def test_the_hardware_decides_once(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"gib": 1000}
    monkeypatch.setattr(hardware, "_available_bytes", lambda device: free["gib"] * 2**30)

    def settings(out: str, threads: bool = True, **options: Any) -> dict[str, Any]:
        lines: list[str] = []
        cpu = {"training.accelerator": "cpu", **options.pop("overrides", {})}
        chosen = FitOptions(overrides=cpu, **options)
        study, made = make_study(
            images, tmp_path / out, ["lora"], [0], chosen, lines.append, threads=threads
        )
        assert study.training.batch_size == made["training.batch_size"]
        made["text"] = "\n".join(lines)
        return made

    made = settings("tiny")
    assert "cpu: images of 96 px, batches of 4, precision 32-true" in made["text"]
    assert made["sam.image_size"] == 96
    assert "training.threads" not in made
    large = settings("vit_b", backbone="vit_b")
    assert (large["sam.image_size"], large["training.threads"] >= 1) == (512, True)
    assert "training.threads" not in settings("compare", threads=False, backbone="vit_b")
    assert settings("large", backbone="vit_b", image_size=1024)["sam.image_size"] == 1024
    assert settings("one", batch_size=1)["training.batch_size"] == 1
    overridden = settings("set", overrides={"sam.backbone": "vit_b"})
    places = {"results", "tasks"}
    assert {key: value for key, value in overridden.items() if key not in places} == {
        key: value for key, value in large.items() if key not in places
    }
    free["gib"] = 1
    small = settings("small memory", backbone="vit_b", image_size=1024)
    assert small["training.batch_size"] == 1
    assert re.search(r"warning: training may need \d+ GB of memory, and 1 GB are", small["text"])
    again = settings("tiny")  # the run goes on with what it began with
    assert {**again, "text": ""} == {**made, "text": ""}


def test_a_folder_with_something_else_is_left_alone(
    images: Path, quick: FitOptions, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(SettingsError, match="not empty, and does not contain a run"):
        fit(images, tmp_path, "lora", quick)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_wrong_options_end_in_a_message(images: Path, tmp_path: Path, naslora: Run) -> None:
    out = ["--out", str(tmp_path / "run")]
    for words, message in (
        (["--method", "lorra"], "did you mean lora?"),
        (["--backbone", "vit_x"], "no backbone 'vit_x'"),
        (["--mask-values", "road"], "cannot read 'road'"),
        (["--set", "training.epoch=3"], "did you mean training.epochs?"),
        (["--image-size", "100"], "an image size must be a multiple of 8"),
        (["--set", "sam.image_size=large"], "sam.image_size"),
    ):
        code, _, errors = naslora("fit", str(images), *out, *words)
        assert code == 1, words
        assert message in errors
        assert "Traceback" not in errors
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").rglob("*.safetensors"))


def test_a_refused_call_leaves_no_benchmark_behind(images: Path, tmp_path: Path) -> None:
    wrong = FitOptions(image_size=64, overrides={"training.accelerator": "cpu", "sam.decodr": "x"})
    with pytest.raises(SettingsError, match="decodr"):
        make_study(images, tmp_path / "wrong", ["lora"], [0], wrong, lambda line: None)
    with pytest.raises(SettingsError, match="no benchmark named 'leaves'"):
        get_benchmark("leaves")
    right = wrong.model_copy(update={"overrides": {"training.accelerator": "cpu"}})
    make_study(images, tmp_path / "right", ["lora"], [0], right, lambda line: None)
    assert get_benchmark("leaves").name == "leaves"
    # Refused for the other method: the benchmark of the first study stays.
    with pytest.raises(SettingsError, match="other settings"):
        make_study(images, tmp_path / "right", ["bitfit"], [0], right, lambda line: None)
    assert get_benchmark("leaves").name == "leaves"
    assert BENCHMARKS._files["leaves"][0] == tmp_path / "right" / "leaves.py"


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_call_goes_on(
    images: Path, quick: FitOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = EpochProgress.epoch
    epochs: list[float] = []

    def pressing(progress: EpochProgress, losses: dict[str, float]) -> None:
        report(progress, losses)
        epochs.append(losses["epoch"])
        if len(epochs) == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(EpochProgress, "epoch", pressing)
    out = tmp_path / "stopped"
    with pytest.raises(StoppedError) as stopped:
        fit(images, out, "lora", quick, lambda line: None)
    assert stopped.value.exit_code == TRY_AGAIN
    assert not (out / ADAPTER_NAME).exists()
    fit(images, out, "lora", quick, lambda line: None)
    assert epochs == [1, 2]  # the first one is not trained again
    fit(images, tmp_path / "whole", "lora", quick, lambda line: None)
    assert (out / ADAPTER_NAME).read_bytes() == (tmp_path / "whole" / ADAPTER_NAME).read_bytes()


@pytest.mark.slow
def test_without_test_images_the_validation_images_count(
    images: Path, quick: FitOptions, tmp_path: Path
) -> None:
    options = quick.model_copy(update={"data": OwnOptions(test_share=0)})
    lines: list[str] = []
    done = fit(images, tmp_path / "run", "lora", options, lines.append)
    assert any("12 train, 2 val" in line for line in lines), lines
    assert "on 2 held-out images" in done.summary


@pytest.mark.slow
def test_compare_names_a_winner_or_says_that_there_is_none(
    images: Path, quick: FitOptions, tmp_path: Path, naslora: Run
) -> None:
    words = ["compare", str(images), "--out", str(tmp_path / "study"), "--seeds", "2"]
    words += ["--methods", "decoder_only,lora", "--image-size", "64", "--epochs", "1"]
    words += ["--checkpoint", str(quick.checkpoint), "--set", "training.accelerator=cpu"]
    code, output, errors = naslora(*words)
    assert code == 0, errors
    assert "There is no winner" in output or "is the best" in output
    root = tmp_path / "study" / "own"
    records = sorted(path.parent.name for path in root.glob("records/leaves/*/seed1.json"))
    assert records == ["decoder_only", "lora"]
    scores = [
        json.loads((root / "records" / "leaves" / "lora" / f"seed{seed}.json").read_text())
        for seed in (0, 1)
    ]
    mean = sum(100 * score["metrics"]["test"]["IoU"] for score in scores) / 2
    assert f"lora             {mean:6.1f}" in output


@pytest.mark.slow
def test_the_page_predicts(images: Path, quick: FitOptions, tmp_path: Path) -> None:
    gradio = pytest.importorskip("gradio")
    client = pytest.importorskip("gradio_client")
    from naslora.own.api import predict
    from naslora.own.demo import build_demo

    run = load_run(fit(images, tmp_path / "run", "lora", quick, lambda line: None).folder)
    page = build_demo(run, "leaves")
    assert isinstance(page, gradio.Blocks)
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    try:
        asked = client.Client(address, verbose=False)
        image = images / "images" / "000.jpg"
        mask, overlay, line = asked.predict(client.handle_file(str(image)), api_name="/predict")
        pixels = np.asarray(Image.open(image).convert("RGB"))
        shown = np.asarray(Image.open(mask).convert("L")) > 0
        assert np.array_equal(shown, predict(run, pixels) > 0)
        assert np.asarray(Image.open(overlay)).shape == pixels.shape
        assert f"{pixels.shape[1]} x {pixels.shape[0]} pixels" in line
    finally:
        page.close()
