"""Run all benchmarks whose results are ratios, and write the table of ratios into README.md.

    python benchmarks/bench.py

Results go to `results/`, named after the hardware. With --table, nothing is run, and the table is
made from the existing results.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from ratios import verdict

from naslora.core.files import write_text
from naslora.study.provenance import hardware
from naslora.timing.document import hardware_tag

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BEGIN, END = "<!-- ratios: begin -->", "<!-- ratios: end -->"
# Result, script, arguments. There are six comparisons, each of 10 minutes at most.
RUNS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("encoder-512", "encoder.py", ("--image-size", "512")),
    (
        "encoder-1024",
        "encoder.py",
        ("--image-size", "1024", "--sides", "lora", "meta-lora"),
    ),
    ("cell-512", "cell.py", ()),
    ("alpha_modes", "alpha_modes.py", ("--seeds", "4")),
    ("decoder_only-512", "decoder_only.py", ("--images", "10")),
    ("startup", "startup.py", ("--repeats", "3")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=[name for name, *_ in RUNS])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--autogluon", type=Path, help="see encoder.py")
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    if not options.table:
        torch.set_num_threads(options.threads)
        tag = hardware_tag(hardware(torch.device("cpu")))
        # Results are copied here at the end: written earlier, they would mark the work tree of
        # later runs as changed.
        with tempfile.TemporaryDirectory() as folder:
            try:
                for name, script, arguments in RUNS:
                    if options.only is None or name in options.only:
                        output = Path(folder) / f"{name}-{tag}.json"
                        run(script, [*arguments, *more(script, options)], output)
            finally:
                for path in Path(folder).iterdir():
                    write_text(RESULTS / path.name, path.read_text(encoding="utf-8"))
    readme = HERE / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    write_text(readme, f"{before}{BEGIN}\n{table()}{END}{after}")


def more(script: str, options: argparse.Namespace) -> list[str]:
    """Arguments that depend on the options."""
    found = []
    if script in ("encoder.py", "cell.py", "decoder_only.py"):
        found += ["--threads", str(options.threads)]
    if script == "encoder.py" and options.autogluon is not None:
        found += ["--autogluon", str(options.autogluon)]
    return found


def run(script: str, arguments: list[str], output: Path) -> None:
    began = time.perf_counter()
    print(f"== {script} {' '.join(arguments)}", flush=True)
    command = [sys.executable, str(HERE / script), *arguments, "--output", str(output)]
    subprocess.run(command, check=True)
    print(f"   {time.perf_counter() - began:.0f} s", flush=True)


def table() -> str:
    """All ratios of all results in Markdown, with target and verdict."""
    lines = ["| ratio | value | target | verdict | measured |", "|---|---:|---:|---|---|"]
    for path in sorted(RESULTS.glob("*.json")):
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for one in content.get("ratios", ()):
            target, value = one["target"], one["value"]
            wanted = "" if target is None else f"≤ {target:g}"
            shown = "—" if value is None else f"{value:.3f}"
            question = one["question"] + (f" ({one['note']})" if one["note"] else "")
            lines.append(f"| {question} | {shown} | {wanted} | {verdict(one)} | `{path.stem}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
