"""Whether cheaper updates of alpha change the scores: paired runs over seeds, on generated images.

    python benchmarks/alpha_modes.py --seeds 8 --output benchmarks/results/alpha_modes.json

The paper's alternation (stage_wise) is compared with: one pass that updates both groups
(simultaneous, after the same T_B), an update at every fourth step, and alpha that is never trained.
The last one is the control: if even its scores do not differ from the paper's, the comparison
cannot distinguish the modes, and only shows that alpha matters little here. The values of alpha are
compared too, relative to the distance that they move under stage_wise.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

from ratios import ratio, write

from naslora.data.prepare import prepare
from naslora.evaluation.evaluate import evaluate
from naslora.study.settings import Study, load_study
from naslora.training.pretraining.run import pretrain
from naslora.training.train import train

TASK, METHOD, METRIC = "kvasir", "nas_pc_lora", "S_measure"
EPOCHS, START = 8, 2  # T_B is a quarter of the epochs, as in the paper
# In the paper, alpha takes thousands of steps at 1e-3; here, it takes 66.
ALPHA_RATE = 0.05
MODES: dict[str, dict[str, Any]] = {
    "stage_wise": {},
    "simultaneous": {"alternation": "simultaneous"},
    "every_fourth_step": {"every_n_steps": 4},
    "never": {"start_epoch": EPOCHS},
}
# Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom.
T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=8, choices=range(2, len(T_95) + 2))
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    options = parser.parse_args()
    settings = {k: v for k, v in vars(options).items() if k != "output"}
    with tempfile.TemporaryDirectory() as folder:
        found, shares = measure(study_of(options, folder))
    differences = {
        mode: difference(values, found["stage_wise"])
        for mode, values in found.items()
        if mode != "stage_wise"
    }
    for mode, (mean, half) in differences.items():
        print(f"{mode:18} {METRIC} {mean:+.4f} +- {half:.4f}", flush=True)
    lines = [
        ratio(
            f"{METRIC} of {mode} less that of stage_wise: difference / half its 95 % interval",
            abs(mean) / half,
            None if mode == "never" else 1.0,
            f"{mean:+.4f} +- {half:.4f}, {options.seeds} paired seeds",
        )
        for mode, (mean, half) in differences.items()
    ]
    way = distance(shares["never"], shares["stage_wise"])
    lines += [
        ratio(
            f"shares of the operations: distance {mode} - stage_wise / never - stage_wise",
            distance(shares[mode], shares["stage_wise"]) / way,
            None,
        )
        for mode in ("simultaneous", "every_fourth_step")
    ]
    write(
        options.output,
        settings,
        scores=found,
        shares=shares,
        differences={mode: list(pair) for mode, pair in differences.items()},
        ratios=lines,
    )


def study_of(options: argparse.Namespace, folder: str) -> Study:
    return load_study(
        "rehearsal",
        {
            "results": folder,
            "tasks": [TASK],
            "methods": [METHOD],
            "seeds": list(range(options.seeds)),
            "generated": {TASK: options.images},
            "training.epochs": EPOCHS,
            "training.architecture.start_epoch": START,
            "training.architecture.learning_rate": ALPHA_RATE,
            "variants": {
                mode: {"method": METHOD, "tasks": [TASK], "training": {"architecture": deltas}}
                for mode, deltas in MODES.items()
            },
        },
    )


def measure(study: Study) -> tuple[dict[str, list[float]], dict[str, list[list[float]]]]:
    """For each mode and seed: the metric, and the final shares of the operations of all cells."""
    prepare(study, TASK)
    pretrain(study)
    found: dict[str, list[float]] = {mode: [] for mode in MODES}
    shares: dict[str, list[list[float]]] = {mode: [] for mode in MODES}
    for seed in study.seeds:
        for mode in MODES:
            cells = train(study, TASK, mode, seed).alpha[-1]
            shares[mode].append([share for name in sorted(cells) for share in cells[name]])
            found[mode].append(evaluate(study, TASK, mode, seed).metrics["test"][METRIC])
    return found, shares


def distance(some: list[list[float]], others: list[list[float]]) -> float:
    """The mean over seeds of the Euclidean distance."""
    return statistics.fmean(math.dist(*pair) for pair in zip(some, others, strict=True))


def difference(values: list[float], reference: list[float]) -> tuple[float, float]:
    """Mean of the paired differences, and half of its 95 % interval."""
    pairs = [value - other for value, other in zip(values, reference, strict=True)]
    half = T_95[len(pairs) - 2] * statistics.stdev(pairs) / math.sqrt(len(pairs))
    return statistics.fmean(pairs), half


if __name__ == "__main__":
    main()
