"""Table 1: methods on the binary tasks."""

from __future__ import annotations

from naslora.report.tables.model import TableSpec, metric_column

_CAMO_FW = metric_column("camo_Fw", "CAMO", "cod", "camo", "weighted_F", (250,))
_SBU_BER = metric_column("sbu_BER", "SBU", "sbu", "test", "BER", (638,))

# The numbers of test images follow from Appendix B; a share that is not a whole number may round
# either way. The paper's E is the mean one. Fw and BER have two readings each, which are compared
# with the same printed number.
COLUMNS = (
    metric_column("kvasir_S", "Kvasir", "kvasir", "test", "S_measure", (100,)),
    metric_column("kvasir_E", "Kvasir", "kvasir", "test", "E_measure", (100,)),
    metric_column("cvc_S", "CVC", "cvc_clinicdb", "test", "S_measure", (61, 62)),
    metric_column("cvc_E", "CVC", "cvc_clinicdb", "test", "E_measure", (61, 62)),
    metric_column("isic2017_Jac", "ISIC 2017", "isic2017", "test", "IoU", (600,)),
    metric_column("isic2017_Dice", "ISIC 2017", "isic2017", "test", "Dice", (600,)),
    metric_column("camo_S", "CAMO", "cod", "camo", "S_measure", (250,)),
    metric_column("camo_E", "CAMO", "cod", "camo", "E_measure", (250,)),
    _CAMO_FW,
    metric_column("camo_Fw_03", "CAMO", "cod", "camo", "weighted_F_03", (250,), printed="camo_Fw"),
    _SBU_BER,
    metric_column("sbu_BER_image", "SBU", "sbu", "test", "BER_image", (638,), printed="sbu_BER"),
    metric_column("leaf_IoU", "Leaf", "leaf", "test", "IoU", (90,)),
    metric_column("leaf_Dice", "Leaf", "leaf", "test", "Dice", (90,)),
    metric_column("road_IoU", "Road", "road", "test", "IoU", (48, 49)),
    metric_column("road_Dice", "Road", "road", "test", "Dice", (48, 49)),
)
# One column per number that the paper prints.
PAPER_COLUMNS = tuple(column for column in COLUMNS if column.printed is None)

TABLE = TableSpec(
    "1",
    "Binary semantic segmentation",
    COLUMNS,
    cited=("Domain Specific",),
    notes=(
        "The paper's Jac of ISIC 2017 is the mean IoU of images.",
        "The paper does not state beta squared of its Fw: 1 is Margolin's, 0.3 that of the code "
        "that some of its baselines are cited from. Its number stands beside both, and each has a "
        "verdict of its own.",
        "The paper does not state how its BER is averaged: over the pixels of the set, as SBU's "
        "script does, or over images. Its number stands beside both.",
    ),
)
