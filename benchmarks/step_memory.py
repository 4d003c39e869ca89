"""Peak memory and time of one optimiser step of every method, each in a separate process.

    python benchmarks/step_memory.py --backbone vit_b --image-size 512

Weights are random: neither memory nor time depends on them. The peak is that of the whole process,
including Python and torch. The time is that of the second of two steps; it is a single measurement,
not a benchmark of speed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import torch

from naslora.core.files import write_json
from naslora.methods.registry import adapt, method_names
from naslora.nas.alternation import AlternatingOptimizer
from naslora.sam.building import build_sam
from naslora.study.provenance import peak_memory_bytes, provenance
from naslora.study.settings import load_study
from naslora.training.losses import task_loss


def measure(method: str, backbone: str, image_size: int, batch: int) -> dict[str, float]:
    """Two steps of a method; seconds of the second, and this process's peak memory."""
    training = load_study("paper").training
    torch.manual_seed(0)
    sam = build_sam(backbone, image_size).train()
    adapt(sam, method)
    optimisers = AlternatingOptimizer(sam, training)
    images = torch.randint(0, 256, (batch, 3, image_size, image_size), dtype=torch.uint8)
    labels = (images[:, 0] > 127).to(torch.uint8)
    epoch = training.architecture.start_epoch + 1  # so that alpha is updated too
    for step in (1, 2):
        began = time.perf_counter()
        optimisers.step(epoch, step, lambda: task_loss(sam(images), labels, 1, training))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "peak_gib": peak_memory_bytes(torch.device("cpu")) / 2**30}


def in_a_process(method: str, backbone: str, image_size: int, batch: int) -> dict[str, float]:
    """`measure` in a fork, which starts without the memory of the others."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            result = measure(method, backbone, image_size, batch)
            os.write(write, json.dumps(result).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status or not answer:
        sys.exit(f"{method}: the process ended with status {status}")
    result: dict[str, float] = json.loads(answer)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="vit_b")
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--output", type=Path, help="write the results to this JSON file")
    options = parser.parse_args()
    figures = {}
    for method in method_names():
        result = in_a_process(method, options.backbone, options.image_size, options.batch_size)
        figures[method] = result
        print(f"{method:14} {result['peak_gib']:6.2f} GiB {result['seconds']:8.1f} s", flush=True)
    if options.output:
        about = provenance(torch.device("cpu")).model_dump(mode="json")
        settings = {k: v for k, v in vars(options).items() if k != "output"}
        write_json(options.output, {"settings": settings, "methods": figures, **about})


if __name__ == "__main__":
    main()
