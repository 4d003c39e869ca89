"""Every command of the documentation is run by a test, or listed here with the reason why not."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main

from naslora.cli import app
from tests.documented import PAGES, all_commands, arguments, commands, in_sentences, text_of

ROOT = Path(__file__).parents[1]
Run = Callable[..., tuple[int, str, str]]

# Pages whose commands on the user's own images are run here, in this order and unchanged.
RUN_HERE = {
    page: [
        command
        for command in [*commands(page), *in_sentences(page)]
        if command.split()[:2]
        in [["naslora", name] for name in ("example", "fit", "compare", "predict", "export")]
        or command == "naslora demo runs/leaves"
    ]
    for page in (
        "README.md",
        "docs/tutorial.md",
        "docs/how-to/own_images.md",
        "docs/how-to/export.md",
    )
}
# Added to them: fewer images, one epoch, one seed. If an option occurs twice, the last one counts.
QUICK = shlex.split("--backbone tiny --image-size 64 --epochs 1 --set training.accelerator=cpu")
ADDED = {"example": ["--count", "14"], "fit": QUICK, "compare": [*QUICK, "--seeds", "1"]}

RUN_ELSEWHERE = {
    "naslora prepare --task leaves": "tests/test_documented.py::test_the_pages_in_order",
    "naslora train --study rehearsal --task kvasir --variant lora --seed 0": (
        "tests/test_docs.py::test_check_a_number"
    ),
    "naslora evaluate --study rehearsal --task kvasir --variant lora --seed 0": (
        "tests/test_docs.py::test_check_a_number"
    ),
    "naslora table all --study rehearsal": "tests/test_docs.py::test_check_a_number",
    "naslora check --study rehearsal": "tests/test_docs.py::test_check_a_number",
    "snakemake --profile local all_tables --config study=sample": (
        "tests/report/test_published.py::test_tables_follow_from_the_records"
    ),
    "naslora doctor --study workstation": "tests/test_documented.py::test_doctor_and_plan",
    "naslora plan --study workstation": "tests/test_documented.py::test_doctor_and_plan",
    "naslora plan --study paper": "tests/test_documented.py::test_doctor_and_plan",
    "naslora plan --study paper --jobs 32": "tests/test_documented.py::test_doctor_and_plan",
    "dvc repro": "tests/workflow/test_dvc_copies.py::test_repro_makes_everything_once",
    "dvc remote add --default mine /mnt/results": "tests/workflow/test_dvc_copies.py::pushed",
    "dvc push": "tests/workflow/test_dvc_copies.py::pushed",
    **dict.fromkeys(
        (
            "dvc metrics show",
            "dvc metrics diff HEAD~1",
            "dvc params diff HEAD~1",
            "dvc plots show",
        ),
        "tests/workflow/test_dvc_shows.py::test_numbers_and_pictures_without_a_network",
    ),
    # Tested with other images and methods; those of the guide are run by the same two files.
    "naslora prepare --task coins --study rehearsal --set tasks=[my_data/coins.py]"
    " --set generated.coins=40": (
        "tests/data/benchmarks/test_recipe.py::test_it_is_generated_prepared_audited_and_evaluated"
    ),
}
PARSED_ALONE = {
    "needs SLURM": [
        command
        for command in commands("docs/how-to/cluster.md")
        if command.startswith("naslora run --study paper --profile slurm")
    ],
    "downloads": [
        "naslora data --study paper",
        "naslora data --study workstation",
        "naslora data --repin NAME",
        "naslora fetch --study paper",
        "naslora fetch --backbone vit_b",
    ],
    "needs the archives of sample": [
        "naslora train --study sample --task leaf --variant lora --seed 0 --set archives=FOLDER",
        "naslora evaluate --study sample --task leaf --variant lora --seed 0 --set archives=FOLDER",
        "naslora run --study sample --set archives=FOLDER --set results=again",
    ],
    "needs a GPU for hours": [
        "naslora run --study workstation",
        "naslora run --study workstation -- --resources gpu=2",
    ],
    "takes hours": ["naslora run --set training.epochs=5"],
    # tests/methods/test_outside.py and tests/data/benchmarks/test_recipe.py run such studies.
    "takes an hour": [
        "snakemake --profile local all_tables --config"
        " 'methods=[lora, my_methods/output_scale.py]'",
        "snakemake --profile local all_tables --config 'tasks=[my_data/coins.py]'"
        " 'generated={coins: 40}'",
    ],
    "is about this repository": [
        "git add dvc.lock && git commit",
        "source .venv/bin/activate",
        "make env",
        "make tables",
        "make test",
    ],
    "is a pattern": ["naslora COMMAND --help"],
}


def test_every_command_is_run_or_listed() -> None:
    run = {command for listed in RUN_HERE.values() for command in listed}
    parsed = {command for listed in PARSED_ALONE.values() for command in listed}
    assert len(run) >= 14
    known = {of_a_study(command) for command in run | {*RUN_ELSEWHERE} | parsed}
    for page, command in all_commands():
        assert of_a_study(command) in known or command.startswith("git clone"), (
            f"{page}: {command}: let a test run it, or add it to PARSED_ALONE with the reason"
        )
    for place in set(RUN_ELSEWHERE.values()):
        file, _, name = place.partition("::")
        assert re.search(rf"^def {name}\b", (ROOT / file).read_text("utf-8"), re.MULTILINE), place


def of_a_study(command: str) -> str:
    """A command without the name of its study."""
    return re.sub(r"(--study |study=)\w+", r"\1STUDY", command)


def test_every_command_can_be_read() -> None:
    group = typer.main.get_command(app)
    for page, command in all_commands():
        program, *words = shlex.split(command)
        if program == "naslora" and words[0] != "COMMAND":
            known = group.commands.get(words[0])  # type: ignore[attr-defined]
            assert known is not None, f"{page}: {command}"
            known.make_context(words[0], words[1:])  # ends in an error for an unknown option
        elif program == "snakemake":
            from snakemake.cli import get_argument_parser

            # Snakemake's parser, which does not know the options of plugins.
            get_argument_parser().parse_args(words)
        elif program == "make":
            makefile = (ROOT / "Makefile").read_text("utf-8")
            assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE), command


@pytest.mark.parametrize(("page", "command"), [("own_data", "fit"), ("own_images", "predict")])
def test_every_option_of_the_tables_can_be_read(page: str, command: str) -> None:
    group = typer.main.get_command(app)
    text = text_of(f"docs/how-to/{page}.md")
    found = re.findall(r"`(--[a-z-]+(?: [^`…]+)?)`", text)
    there = {name for one in group.commands[command].params for name in one.opts}  # type: ignore[attr-defined]
    tried = 0
    for option in found:
        words = shlex.split(option)
        if words[0] not in there or words[-1].isupper():
            assert words[0] in there | {"--ignore", "--set", "--profile"}, option
            continue
        alone = [words[0]] if len(words) == 1 else words
        if len(words) == 1 and not _is_flag(group, command, words[0]):
            continue  # only named
        context = ["x", *(["y"] if command == "predict" else []), "--out", "z", *alone]
        group.commands[command].make_context(command, context)  # type: ignore[attr-defined]
        tried += 1
    assert tried >= 2


def _is_flag(group: object, command: str, option: str) -> bool:
    parameters = group.commands[command].params  # type: ignore[attr-defined]
    return any(option in one.opts and getattr(one, "is_flag", False) for one in parameters)


def test_doctor_and_plan(naslora: Run, tmp_path: Path) -> None:
    listed = [c for c, test in RUN_ELSEWHERE.items() if test.endswith("::test_doctor_and_plan")]
    for command in listed:
        places = ["--set", f"results={tmp_path}", "--set", f"archives={tmp_path}"]
        code, output, errors = naslora(*arguments(command), *places)
        if "doctor" in command:
            assert (code, "cannot run" in output) == (1, True), errors  # nothing is there
        else:
            assert (code, "GPU" in output) == (0, True), errors


@pytest.mark.slow
def test_the_pages_in_order(naslora: Run, tmp_path: Path) -> None:
    """Each page in its own folder; pages with DATA and RUN use the tutorial's."""
    tutorial = tmp_path / "docs" / "tutorial.md"
    leaves, runs = tutorial / "leaves", tmp_path / "runs"
    places = {
        "docs/how-to/own_images.md": {
            "DATA": str(leaves),
            "RUN": str(runs / "own"),
            "IMAGES...": str(leaves / "images"),
            "DIR": "compared",
        },
        "docs/how-to/export.md": {"RUN": str(runs / "lora"), "IMAGES": str(leaves / "images")},
    }

    def run(page: str, words: list[str]) -> str:
        folder = tmp_path / page
        folder.mkdir(parents=True, exist_ok=True)
        words = [places.get(page, {}).get(word, word) for word in words]
        code, output, errors = naslora(*words, *ADDED.get(words[0], []), folder=folder)
        assert code == 0, f"{page}: {words}\n{errors}"
        return output

    for page, listed in RUN_HERE.items():
        if page == "docs/how-to/export.md":  # needs a run that all three formats support
            kept = ["--method", "lora", "--set", "sam.decoder=original"]
            run(page, ["fit", str(leaves), "--out", str(runs / "lora"), *kept])
        for command in listed:
            words = arguments(command)
            if words[0] == "demo":
                see_the_page(tmp_path / page, words)
            elif "--estimator" in words:  # which merges NAS cells
                places[page]["RUN"] = str(runs / "own")
                assert "the median error of" in run(page, words)  # of the merge
            else:
                if page.endswith("own_images.md") and words[0] == "predict":
                    words[words.index("DIR")] = "masks"
                run(page, words)

    readme, exported = tmp_path / "README.md", tmp_path / "docs" / "how-to" / "export.md"
    for folder in (readme, tutorial, tmp_path / "docs" / "how-to" / "own_images.md"):
        masks = [path for path in (folder / "masks").glob("*.png") if "overlay" not in path.name]
        assert len(masks) == 14, folder
    assert len(list((tutorial / "masks").glob("*_overlay.png"))) == 14
    assert (tutorial / "runs" / "leaves" / "own" / "report.html").is_file()
    assert (readme / "leaves.onnx").is_file()
    for name in ("exported/adapter_config.json", "model.onnx", "sam.pth", "dense.onnx"):
        assert (exported / name).is_file()

    # The task's file in docs/how-to/own_data.md: that of the last run, since a process can have one
    # task of a name only.
    task = runs / "lora" / "leaves.py"
    study = ["--study", "rehearsal", "--set", f"tasks=[{task}]", "--set", f"results={runs}"]
    (command,) = in_sentences("docs/how-to/own_data.md")
    run("docs/how-to/own_data.md", [*arguments(command), *study])
    assert (runs / "rehearsal" / "manifests" / "leaves.json").is_file()


def see_the_page(folder: Path, words: list[str]) -> None:
    """Start the page, fetch it, and stop it as Ctrl-C does."""
    pytest.importorskip("gradio")
    command = [sys.executable, "-u", "-m", "naslora", *words, "--no-browser"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = None
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                address = found[0]
                break
        assert address, "the page did not start"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert b"gradio" in opener.open(address, timeout=60).read()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode in (0, 130)  # as a shell says of Ctrl-C


def test_pages_are_those_of_the_site() -> None:
    assert {*RUN_HERE} <= {*PAGES}
