"""Table 1: methods on the binary tasks."""

from __future__ import annotations

from naslora.report.tables.model import Column, TableSpec

# The numbers of test images follow from Appendix B; a share that is no whole number may round
# either way.
COLUMNS = (
    Column("kvasir_S", "Kvasir S", "kvasir", "test", "S_measure", (100,)),
    Column("kvasir_E", "Kvasir E", "kvasir", "test", "E_measure", (100,)),
    Column("cvc_S", "CVC S", "cvc_clinicdb", "test", "S_measure", (61, 62)),
    Column("cvc_E", "CVC E", "cvc_clinicdb", "test", "E_measure", (61, 62)),
    Column("isic2017_Jac", "ISIC 2017 Jac", "isic2017", "test", "IoU", (600,)),
    Column("isic2017_Dice", "ISIC 2017 Dice", "isic2017", "test", "Dice", (600,)),
    Column("camo_S", "CAMO S", "cod", "camo", "S_measure", (250,)),
    Column("camo_E", "CAMO E", "cod", "camo", "E_measure", (250,)),
    Column("camo_Fw", "CAMO Fw", "cod", "camo", "weighted_F", (250,)),
    Column(
        "sbu_BER",
        "SBU BER",
        "sbu",
        "test",
        "BER",
        (638,),
        scale=1.0,
        higher_is_better=False,
        decimals=2,
    ),
    Column("leaf_IoU", "Leaf IoU", "leaf", "test", "IoU", (90,)),
    Column("leaf_Dice", "Leaf Dice", "leaf", "test", "Dice", (90,)),
    Column("road_IoU", "Road IoU", "road", "test", "IoU", (48, 49)),
    Column("road_Dice", "Road Dice", "road", "test", "Dice", (48, 49)),
)


TABLE = TableSpec("1", "Binary semantic segmentation", COLUMNS, cited=("Domain Specific",))
