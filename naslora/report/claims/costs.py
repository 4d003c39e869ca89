"""Claims on the cost of training and inference: Table 5, and what the text makes of it."""

from __future__ import annotations

from naslora.report.claims.claim import Claim, Judgement, value
from naslora.report.claims.evidence import Evidence
from naslora.report.published import printed, rows

_SEARCHING = "NAS-PC-LoRA (update w and alpha)"
_PLAIN = "NAS-PC-LoRA (update w)"
_TRAINING_IMAGES = 2000  # ISIC 2017, Appendix B
_EPOCHS, _START_EPOCH = 40, 10  # T and T_B, Section 4.1


def training_cost(evidence: Evidence) -> Claim:
    """The 24.14 percent of the abstract."""
    lora, conv_lora, plain, searching = (
        value("5", row, "train_min_per_epoch") for row in ("LoRA", "Conv-LoRA", _PLAIN, _SEARCHING)
    )
    schedule = _START_EPOCH * plain + (_EPOCHS - _START_EPOCH) * searching
    arithmetic = (
        f"Table 5: {searching} / {lora} = {searching / lora:.4f} minutes per epoch: while "
        f"alpha is trained, NAS-PC-LoRA costs {100 * (searching / lora - 1):.2f} % more than LoRA, "
        "not less.",
        f"Over {_EPOCHS} epochs, {_START_EPOCH} of them without alpha: ({_START_EPOCH} x {plain} + "
        f"{_EPOCHS - _START_EPOCH} x {searching}) / ({_EPOCHS} x {lora}) = "
        f"{schedule / (_EPOCHS * lora):.3f} of LoRA, and {schedule / (_EPOCHS * conv_lora):.3f} of "
        "Conv-LoRA.",
    )
    before = evidence.epoch_ratio("nas_pc_lora", "lora", searching=False)
    after = evidence.epoch_ratio("nas_pc_lora", "lora", searching=True)
    measured = []
    for name, ratio in (("w alone", before), ("w and alpha", after)):
        if ratio is not None:
            measured.append(
                f"Epochs that train {name} take {ratio.median:.2f} of LoRA's time (median over "
                f"{ratio.pairs} pairs of runs of one task and seed)."
            )
    if measured:
        measured.append("Jobs shared the machine; benchmarks/ holds the timing of one at a time.")
    ours = Judgement.NOT_MEASURED
    if after is not None:
        ours = Judgement.CONTRADICTED if after.median > 1 else Judgement.HOLDS
    return Claim(
        key="training_cost",
        text="Training costs 24.14 % less than LoRA's.",
        source="Abstract; Section 1; Table 5",
        arithmetic=arithmetic,
        paper=Judgement.CONTRADICTED,
        measured=tuple(measured),
        ours=ours,
    )


def epoch_times(evidence: Evidence) -> Claim:
    """Whether Table 5's two training columns say the same."""
    del evidence
    off = []
    for row in rows("5"):
        if printed("5", row, "train_iter_per_s") is None:
            continue
        minutes = _TRAINING_IMAGES / value("5", row, "train_iter_per_s") / 60
        if abs(minutes - value("5", row, "train_min_per_epoch")) > 0.05:
            off.append(f"{row} ({minutes:.2f} against {value('5', row, 'train_min_per_epoch')})")
    lora = value("5", "LoRA", "train_iter_per_s")
    return Claim(
        key="epoch_times",
        text="Iterations per second and minutes per epoch describe the same runs.",
        source="Table 5",
        arithmetic=(
            f"An iteration is one image, though batches have four: {_TRAINING_IMAGES} / ({lora} x "
            f"60) = {_TRAINING_IMAGES / lora / 60:.1f} minutes, LoRA's printed time.",
            f"By more than a rounding it differs for {', '.join(off) if off else 'no row'}.",
        ),
        paper=Judgement.PARTLY if off else Judgement.HOLDS,
    )


def vera_timing(evidence: Evidence) -> Claim:
    """VeRA's training speed."""
    train, infer = (value("5", "VeRA", f"{kind}_iter_per_s") for kind in ("train", "inference"))
    ratio = evidence.epoch_ratio("vera", "lora", searching=False)
    measured: tuple[str, ...] = ()
    ours = Judgement.NOT_MEASURED
    if ratio is not None:
        measured = (
            f"An epoch of VeRA takes {ratio.median:.2f} of LoRA's time (median over {ratio.pairs} "
            "pairs of runs); the paper's numbers say "
            f"{value('5', 'LoRA', 'train_iter_per_s') / train:.2f}.",
        )
        ours = Judgement.CONTRADICTED if ratio.median > 0.5 else Judgement.HOLDS
    return Claim(
        key="vera_timing",
        text="VeRA trains at 13.14 images per second.",
        source="Table 5",
        arithmetic=(
            f"It infers at {infer} images per second: training would be {train / infer:.1f} times "
            "as fast as the forward pass that is a part of it. With the encoder in the loop that "
            "cannot be; VeRA's frozen shared matrices leave no layer out.",
        ),
        paper=Judgement.CONTRADICTED,
        measured=measured,
        ours=ours,
    )


def inference_cost(evidence: Evidence) -> Claim:
    """No extra cost at inference."""
    del evidence
    lora, ours, conv_lora = (
        value("5", row, "inference_iter_per_s") for row in ("LoRA", _PLAIN, "Conv-LoRA")
    )
    return Claim(
        key="inference_cost",
        text="Inference costs no more than LoRA's, since the cell merges into the frozen weights.",
        source="Abstract; Section 1; Section 3.3; Table 5",
        arithmetic=(
            f"Table 5 prints {ours} images per second for both (LoRA {lora}; Conv-LoRA "
            f"{conv_lora}), which needs a merged cell.",
            "A merged cell is no longer the trained one, see merging: with the side branch that "
            "computes what was trained (one 9x9 convolution of rank-many channels and a "
            "max-pool per layer), inference costs a little more.",
        ),
        paper=Judgement.PARTLY,
    )


def merging(evidence: Evidence) -> Claim:
    """Equations 6 and 7."""
    del evidence
    return Claim(
        key="merging",
        text="The cell merges into the pre-trained weights without loss.",
        source="Section 1; Section 3.3, equations 6 and 7",
        arithmetic=(
            "A convolution or a pooling reads its neighbours: its output at one position depends "
            "on up to 81 positions of a window. A matrix added to W0 sees one position alone, so "
            "no matrix equals it unless every tap but the centre's is zero.",
            "Exact is the low-rank side branch with all linear operations collapsed into one 9x9 "
            "convolution; max-pooling stays apart, since it is not linear.",
            'merge("dense") fits the best matrix, and says how far it is off: '
            "naslora.nas.merging; the tests measure it.",
        ),
        paper=Judgement.CONTRADICTED,
    )


CLAIMS = (training_cost, epoch_times, vera_timing, inference_cost, merging)
