"""Tables 6 to 9 and D1: the ablations, each a few variants of NAS-PC-LoRA on one task."""

from __future__ import annotations

from naslora.report.tables.model import RowSpec, TableSpec, metric_column
from naslora.study.settings import RunSettings

_OWN = "nas_pc_lora"
_CONVOLUTIONS = ["sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"]
_POOLS = ["avg_pool_3x3", "max_pool_3x3"]
_PLAIN = ["skip", "zero"]

_ISIC2017 = (
    metric_column("isic2017_Jac", "", "isic2017", "test", "IoU", (600,)),
    metric_column("isic2017_TJac", "", "isic2017", "test", "T_Jac", (600,)),
    metric_column("isic2017_Dice", "", "isic2017", "test", "Dice", (600,)),
    metric_column("isic2017_Acc", "", "isic2017", "test", "Acc", (600,)),
)
_NONE: frozenset[str] = frozenset()
_V2 = ("trans10k_v2", "test")
_TRANS10K_V2 = (
    metric_column("trans10k_v2_Acc", "", *_V2, "Acc", (4428,), decimals=2),
    metric_column("trans10k_v2_mIoU", "", *_V2, "mIoU", (4428,), printed_of=_NONE),
    metric_column(
        "trans10k_v2_mIoU_foreground",
        "",
        *_V2,
        "mIoU_foreground",
        (4428,),
        printed="trans10k_v2_mIoU",
        printed_of=_NONE,
    ),
)
_LEAF = (
    metric_column("leaf_IoU", "", "leaf", "test", "IoU", (90,)),
    metric_column("leaf_Dice", "", "leaf", "test", "Dice", (90,)),
    metric_column("leaf_Acc", "", "leaf", "test", "Acc", (90,)),
)


def _schedule(run: RunSettings) -> str:
    alpha = run.training.architecture
    return f"{alpha.start_epoch} of {run.training.epochs} ({alpha.alternation.replace('_', '-')})"


_JAC = "The paper's Jac is the mean IoU of images, and its T-Jac that of ISIC's challenge."

TABLE6 = TableSpec(
    "6",
    "Candidate operations in the NAS cell, ISIC 2017",
    _ISIC2017,
    (
        RowSpec(_OWN, "NAS-PC-LoRA"),
        RowSpec(
            "no_convolution",
            "without convolution",
            "without convolution",
            {"operations": [*_POOLS, *_PLAIN]},
        ),
        RowSpec(
            "no_pooling",
            "without pooling",
            "without pooling",
            {"operations": [*_CONVOLUTIONS, *_PLAIN]},
        ),
        RowSpec(
            "no_skip_zero",
            "without skip and no connection",
            "without skip and no connection",
            {"operations": [*_CONVOLUTIONS, *_POOLS]},
        ),
    ),
    heading="Operations",
    parameters=False,
    notes=(_JAC,),
)

TABLE7 = TableSpec(
    "7",
    "The rank of NAS-PC-LoRA, Trans10K-v2",
    _TRANS10K_V2,
    (
        RowSpec(_OWN, "3", "3"),
        *(RowSpec(f"rank_{rank}", str(rank), str(rank), {"rank": rank}) for rank in (6, 12, 24)),
    ),
    heading="Rank",
    notes=(
        "The paper does not say over which classes this mIoU is the mean, and Table 3, whose row "
        "NAS-PC-LoRA is rank 3, uses two definitions: no verdict is given on it.",
    ),
)

TABLE8 = TableSpec(
    "8",
    "The place of the NAS cells in the image encoder, Leaf",
    _LEAF,
    (
        RowSpec("layers_first_half", "1-16", "first half", {"layers": "first_half"}),
        RowSpec("layers_last_half", "16-32", "last half", {"layers": "last_half"}),
        RowSpec(_OWN, "1-32", "all"),
    ),
    heading="Blocks",
    notes=(
        "The paper's rows are blocks 1 to 16 and, as it prints, 16 to 32 of ViT-H's 32; the last "
        "half here begins with block 17. Its parameter count of a half is half of all, mask "
        "decoder included.",
    ),
)

TABLE9 = TableSpec(
    "9",
    "The stage-wise optimisation, ISIC 2017",
    _ISIC2017,
    (
        RowSpec(
            "alpha_simultaneous",
            "0 / simultaneous",
            _schedule,
            training={"architecture": {"start_epoch": 0, "alternation": "simultaneous"}},
        ),
        RowSpec(
            "alpha_from_start",
            "0 / stage-wise",
            _schedule,
            training={"architecture": {"start_epoch": 0}},
        ),
        RowSpec(_OWN, "10 / stage-wise", _schedule),
        RowSpec(
            "alpha_late",
            "20 / stage-wise",
            _schedule,
            training={"architecture": {"start_epoch": 20}},
        ),
    ),
    heading="T_B (epochs)",
    parameters=False,
    notes=(_JAC,),
)

TABLE_D1 = TableSpec(
    "D1",
    "The share of channels that go through the cell, Leaf",
    _LEAF,
    (
        RowSpec("nas_lora", "3/3", "3/3 (NAS-LoRA)"),
        RowSpec(_OWN, "2/3", "2/3 (NAS-PC-LoRA)"),
        RowSpec("channels_1_of_3", "1/3", "1/3", {"ratio": 0.3333}),
    ),
    heading="Channels",
)

TABLES = (TABLE6, TABLE7, TABLE8, TABLE9, TABLE_D1)
