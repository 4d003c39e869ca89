"""The claim that a cell merges into the weights: equations 6 and 7."""

from __future__ import annotations

from statistics import median

from naslora.data.benchmarks.contract import get_benchmark
from naslora.report.claims.claim import Claim, Judgement
from naslora.report.claims.evidence import Evidence
from naslora.report.tables.table4 import analyses

_MERGED = "nas_lora"  # of Table 4's models, the one with cells
_LOSSLESS = 0.1  # percent


def merging(evidence: Evidence) -> Claim:
    """Equations 6 and 7."""
    analysis = analyses(evidence.study)[0].get(_MERGED)
    errors = [100 * error for error in analysis.merge_errors.values()] if analysis else []
    measured: tuple[str, ...] = ()
    if analysis and errors:
        title = get_benchmark(analysis.task).title
        measured = (
            f"NAS-LoRA of seed {analysis.seed} on {len(analysis.images)} test images of {title}: "
            f"with the best plain layer in place of each of {len(errors)} cells, its low-rank "
            f"branch's output is off by {median(errors):.1f} % in the median, {min(errors):.1f} % "
            f"to {max(errors):.1f} % (norm of the difference over the norm of the output; the "
            "layer is fitted on these very images).",
        )
    return Claim(
        key="merging",
        text="The cell merges into the pre-trained weights without loss.",
        source="Section 1; Section 3.4, equations 6 and 7",
        arithmetic=(
            "A convolution or a pooling reads its neighbours: the cell's output at one position "
            "depends on a field of 9 x 9. A matrix added to W0 sees one position alone, so no "
            "matrix equals it unless every tap but the centre's is zero.",
            "Exact is the low-rank side branch with all linear operations collapsed into one 9 x 9 "
            "convolution; max-pooling stays apart, since it is not linear.",
            "A merge into a plain layer is approximate: `plan_dense_merge` of "
            "`naslora.methods.merge` says by how much it is off on given images.",
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
