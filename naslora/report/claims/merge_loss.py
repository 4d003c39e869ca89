"""The claim that the NAS cell merges into the pre-trained weights without loss (eq. 6 and 7)."""

from __future__ import annotations

from statistics import median

from naslora.data.benchmarks.contract import get_benchmark
from naslora.report.claims.claim import Claim, Judgement
from naslora.report.claims.evidence import Evidence
from naslora.report.tables.table4 import analyses

_MERGED = "nas_lora"  # the model of Table 4 that has cells
_LOSSLESS = 0.1  # the largest error that counts as none, in percent


def merging(evidence: Evidence) -> Claim:
    """Check the claim by arithmetic, and by the errors of the best plain layers in our runs.

    Args:
        evidence: the study's results; its analyses hold the error of each cell of NAS-LoRA, see
            `naslora.methods.merge.DenseMerge`.

    Returns:
        The claim. It is not measured where the study has no analysis of NAS-LoRA; else it holds if
        no error is above 0.1 %.
    """
    analysis = analyses(evidence.study)[0].get(_MERGED)
    errors = [100 * error for error in analysis.merge_errors.values()] if analysis else []
    measured: tuple[str, ...] = ()
    if analysis and errors:
        title = get_benchmark(analysis.task).title
        measured = (
            f"NAS-LoRA of seed {analysis.seed} on {len(analysis.images)} test images of {title}: "
            f"with the best plain layer in place of each of {len(errors)} cells, its low-rank "
            f"branch's output has an error of {median(errors):.1f} % in the median, "
            f"{min(errors):.1f} % to {max(errors):.1f} % (norm of the difference over the norm of "
            "the output; the layer is fitted on the same images).",
        )
    return Claim(
        key="merging",
        text="The cell merges into the pre-trained weights without loss.",
        source="Section 1; Section 3.4, equations 6 and 7",
        arithmetic=(
            "The cell's output at a position depends on a neighbourhood of 9 x 9 positions. A "
            "matrix added to W0 is applied to each position by itself, so no matrix has the same "
            "outputs unless all taps but the centre's are zero.",
            "The linear operations can be collapsed exactly into one 9 x 9 convolution in the "
            "low-rank branch; max-pooling stays separate, since it is not linear.",
            "A merge into a plain layer is approximate; `plan_dense_merge` of "
            "`naslora.methods.merge` measures its error on given images.",
        ),
        paper=Judgement.CONTRADICTED,
        measured=measured,
        ours=Judgement.NOT_MEASURED
        if not errors
        else Judgement.CONTRADICTED
        if max(errors) > _LOSSLESS
        else Judgement.HOLDS,
    )


CLAIMS = (merging,)
