"""Claims on the cost of training and inference: Table 5 and the text on it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from statistics import median

from naslora.paper.published import printed, rows
from naslora.report.claims.claim import Claim, Judgement, value
from naslora.report.claims.evidence import Evidence, Ratio
from naslora.report.tables.comparability import PAPER_TRAINING
from naslora.report.tables.table5_notes import INFERENCE_FORMS
from naslora.report.tables.timed_cells import TOLERANCE
from naslora.results.costs import PAPER_EPOCHS, PAPER_START_EPOCH, schedule_seconds
from naslora.timing.document import PassName, Timing

_SEARCHING = "NAS-PC-LoRA (update w and alpha)"
_PLAIN = "NAS-PC-LoRA (update w)"
_TRAINING_IMAGES = 2000  # ISIC 2017, Appendix B
_SAVED = 0.2414  # the abstract's


def training_cost(evidence: Evidence) -> Claim:
    """The 24.14 percent of the abstract."""
    minutes = {row: value("5", row, "train_min_per_epoch") for row in rows("5")}
    lora, conv_lora = minutes["LoRA"], minutes["Conv-LoRA"]
    plain, searching = minutes[_PLAIN], minutes[_SEARCHING]
    schedule = PAPER_START_EPOCH * plain + (PAPER_EPOCHS - PAPER_START_EPOCH) * searching
    below, above = min(
        permutations(minutes, 2), key=lambda pair: abs(1 - _over(minutes, *pair) - _SAVED)
    )
    arithmetic = (
        f"Table 5: {searching} / {lora} = {searching / lora:.4f} minutes per epoch: while "
        f"alpha is trained, NAS-PC-LoRA costs {100 * (searching / lora - 1):.2f} % more than LoRA, "
        "not less.",
        f"Over {PAPER_EPOCHS} epochs, {PAPER_START_EPOCH} of them without alpha: "
        f"({PAPER_START_EPOCH} x {plain} + {PAPER_EPOCHS - PAPER_START_EPOCH} x {searching}) / "
        f"({PAPER_EPOCHS} x {lora}) = {schedule / (PAPER_EPOCHS * lora):.3f} of LoRA, and "
        f"{schedule / (PAPER_EPOCHS * conv_lora):.3f} of Conv-LoRA.",
        f"No two of the column's minutes give a saving of {100 * _SAVED:.2f} %; the nearest is "
        f"{below} against {above}, {100 * (1 - _over(minutes, below, above)):.2f} %.",
        "Section 4.2 itself says that training costs more than LoRA's, and the caption of Figure 1 "
        "speaks of a minimal increase.",
    )
    measured, judged = _epochs_here(evidence, "nas_pc_lora", searching=True)
    return Claim(
        key="training_cost",
        text="Training costs 24.14 % less than LoRA's.",
        source="Abstract; Section 1; Table 5",
        arithmetic=arithmetic,
        paper=Judgement.CONTRADICTED,
        measured=measured,
        ours=_against_lora(judged, 1 - _SAVED),
    )


def epoch_times(evidence: Evidence) -> Claim:
    """Whether Table 5's two training columns say the same."""
    del evidence
    off = []
    for row in rows("5"):
        rate = printed("5", row, "train_iter_per_s")
        minutes = printed("5", row, "train_min_per_epoch")
        if rate is None or minutes is None:
            continue
        # Each number may have an error of half a unit of its last digit.
        least, most = (
            _TRAINING_IMAGES / (rate.value + sign * rate.half_unit) / 60 for sign in (1, -1)
        )
        if not least - minutes.half_unit <= minutes.value <= most + minutes.half_unit:
            exact = _TRAINING_IMAGES / rate.value / 60
            off.append(f"{row} ({exact:.2f} against {minutes.text})")
    lora = value("5", "LoRA", "train_iter_per_s")
    return Claim(
        key="epoch_times",
        text="Iterations per second and minutes per epoch describe the same runs.",
        source="Table 5",
        arithmetic=(
            f"An iteration is one image, though batches have four: {_TRAINING_IMAGES} / ({lora} x "
            f"60) = {_TRAINING_IMAGES / lora / 60:.1f} minutes, LoRA's printed time.",
            f"By more than roundings it differs for {', '.join(off) if off else 'no row'}.",
        ),
        paper=Judgement.PARTLY if off else Judgement.HOLDS,
        ours=Judgement.PRINT_ALONE,
    )


def vera_timing(evidence: Evidence) -> Claim:
    """VeRA's training speed."""
    train, infer = (value("5", "VeRA", f"{kind}_iter_per_s") for kind in ("train", "inference"))
    lora = value("5", "LoRA", "train_iter_per_s")
    measured, judged = _epochs_here(evidence, "vera", searching=False)
    for machine, timing in evidence.timings.items():
        own = evidence.turn_ratio(timing, ("vera", "inference"), ("vera", "training"))
        if own is not None:
            measured += (
                f"VeRA, {machine}: it trains {own.median:.2f} times as fast as it infers; by the "
                f"paper's numbers {train / infer:.1f} times.",
            )
    return Claim(
        key="vera_timing",
        text=f"VeRA trains at {train} images per second, {train / lora:.0f} times as fast as LoRA.",
        source="Table 5",
        arithmetic=(
            f"It infers at {infer} images per second: training would be {train / infer:.1f} times "
            "as fast as the forward pass that is a part of it. At one size and precision, with the "
            "encoder in the loop, that cannot be; VeRA's frozen shared matrices leave no layer "
            "out.",
            f"By the same numbers an epoch of VeRA takes {lora / train:.2f} of LoRA's time, though "
            "both pass through the same frozen encoder, forward and backward.",
        ),
        paper=Judgement.CONTRADICTED,
        measured=measured,
        ours=_against_lora(judged, lora / train),
    )


def inference_cost(evidence: Evidence) -> Claim:
    """No extra cost at inference."""
    lora, ours, conv_lora = (
        value("5", row, "inference_iter_per_s") for row in ("LoRA", _PLAIN, "Conv-LoRA")
    )
    measured, first = [], None
    for machine, timing in evidence.timings.items():
        ratio = evidence.turn_ratio(timing, ("nas_pc_lora", "inference"), ("lora", "inference"))
        timed = timing.of("nas_pc_lora")
        if ratio is None or timed is None:
            continue
        first = first or ratio
        measured.append(
            f"Inference time over merged LoRA's, {machine}: {_turns(ratio)}, "
            f"{INFERENCE_FORMS[timed.inference_form]}."
        )
    judgement = Judgement.NOT_MEASURED
    if first is not None:
        measured.append(f"More than {TOLERANCE:.0%} counts as a cost.")
        judgement = (
            Judgement.CONTRADICTED
            if first.low > 1 + TOLERANCE
            else Judgement.HOLDS
            if first.high <= 1 + TOLERANCE
            else Judgement.OPEN
        )
    return Claim(
        key="inference_cost",
        text="Inference costs no more than LoRA's, since the cell merges into the frozen weights.",
        source="Abstract; Section 1; Section 3.4; Table 5",
        arithmetic=(
            f"Table 5 prints {ours} images per second for both (LoRA {lora}; Conv-LoRA "
            f"{conv_lora}), which needs a merged cell.",
            "A merged cell is no longer the trained one, see merging: with the side branch that "
            "computes what was trained (one 9 x 9 convolution of rank-many channels and a "
            "max-pool per layer), inference costs a little more.",
        ),
        paper=Judgement.PARTLY,
        measured=tuple(measured),
        ours=judgement,
    )


def steps_or_epochs(evidence: Evidence) -> Claim:
    """What T and T_B count."""
    training, batch = evidence.study.training, int(PAPER_TRAINING["batch_size"])
    return Claim(
        key="steps_or_epochs",
        text=f"Training takes T = {PAPER_EPOCHS} optimization steps, T_B = {PAPER_START_EPOCH} of "
        "them before alpha is trained.",
        source="Section 4.1; Algorithm 1",
        arithmetic=(
            f"{PAPER_EPOCHS} steps of {batch} images are {PAPER_EPOCHS * batch} images; ISIC 2017 "
            f"alone has {_TRAINING_IMAGES} for training. Table 9 heads T_B as an epoch, and the "
            "text on Figure C1 sees its effect at the 10th epoch. So both must be epochs.",
            f"This study counts epochs: {training.epochs}, "
            f"{min(training.architecture.start_epoch, training.epochs)} of them without alpha.",
        ),
        paper=Judgement.CONTRADICTED,
        ours=Judgement.PRINT_ALONE,
    )


def _epochs_here(
    evidence: Evidence, method: str, *, searching: bool
) -> tuple[tuple[str, ...], Ratio | None]:
    """A method's training time over LoRA's, by the timing protocol and in training runs.

    The ratio that counts is the first machine's, a GPU's if there is one; that of runs, which
    shared a machine, only where nothing was timed.
    """
    lines, judged = [], None
    passes: list[tuple[PassName, str]] = [("training", "w alone")]
    passes += [("searching", "w and alpha")] if searching else []
    for machine, timing in evidence.timings.items():
        parts = []
        last = None
        for kind, trained in passes:
            last = evidence.turn_ratio(timing, (method, kind), ("lora", "training"))
            if last is not None:
                parts.append(f"{_turns(last)}" + (f" with {trained}" if searching else ""))
        if parts:
            parts += _schedule(evidence, timing, method) if searching else []
            lines.append(f"Training time over LoRA's, {machine}: {'; '.join(parts)}.")
        judged = judged or last
    runs = None
    for kind, trained in passes:
        runs = evidence.epoch_ratio(method, "lora", searching=kind == "searching")
        if runs is not None:
            which = f" that train {trained}" if searching else ""
            lines.append(
                f"In training runs, which may have shared a machine, epochs{which} take "
                f"{runs.median:.2f} times LoRA's time (median of {len(runs.values)} pairs of runs "
                f"of one task and seed; the middle half from {runs.low:.2f} to {runs.high:.2f})."
            )
    return tuple(lines), judged or runs


def _schedule(evidence: Evidence, timing: Timing, method: str) -> list[str]:
    """The time of the study's whole schedule over LoRA's, if both were timed."""
    study, pair = evidence.study, [timing.of(name) for name in (method, "lora")]
    seconds = [schedule_seconds(study, one, timing.batch_size) for one in pair if one is not None]
    if len(seconds) < len(pair) or not all(seconds):
        return []
    epochs = study.training.epochs
    ratio = median(a / b for a, b in zip(*seconds, strict=True))
    start = min(study.training.architecture.start_epoch, epochs)
    return [f"{ratio:.2f} over the schedule of {epochs} epochs, {start} of them without alpha"]


def _against_lora(ratio: Ratio | None, promised: float) -> Judgement:
    """Judge the claim that a method takes this share of LoRA's training time, or less.

    It holds in part where at least half of the saving is there.
    """
    if ratio is None:
        return Judgement.NOT_MEASURED
    bound = promised * (1 + TOLERANCE)
    if ratio.low <= bound:
        return Judgement.HOLDS if ratio.high <= bound else Judgement.OPEN
    half = (1 + promised) / 2
    return Judgement.PARTLY if ratio.high <= half else Judgement.CONTRADICTED


def _turns(ratio: Ratio) -> str:
    return (
        f"{ratio.median:.2f} (median of {len(ratio.values)} turns, {ratio.low:.2f} to "
        f"{ratio.high:.2f})"
    )


def _over(minutes: Mapping[str, float], one: str, other: str) -> float:
    return minutes[one] / minutes[other]


CLAIMS = (
    training_cost,
    epoch_times,
    vera_timing,
    inference_cost,
    steps_or_epochs,
)
