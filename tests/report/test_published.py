from __future__ import annotations

import itertools

import pytest

from naslora.paper.published import METHOD_ROWS, TABLES, columns, printed, rows

SAM_VIT_H_M = 641.090608


def number(table: str, row: str, column: str) -> float:
    cell = printed(table, row, column)
    assert cell is not None
    return cell.value


def test_every_cell_is_a_number_or_empty() -> None:
    for table in TABLES:
        cells = [printed(table, row, column) for row in rows(table) for column in columns(table)]
        assert sum(cell is not None for cell in cells) > 0.9 * len(cells), table
        assert all(cell is None or cell.value == float(cell.text) for cell in cells)


def test_single_cells() -> None:
    assert printed("1", "NAS-PC-LoRA", "kvasir_S").text == "92.4"
    assert printed("1", "Domain Specific", "params_m") is None
    assert printed("5", "LoRA", "train_min_per_epoch").value == 20.3
    assert printed("9", "10 / stage-wise", "isic2017_Jac").value == 78.2
    assert printed("9", "0 / simultaneous", "isic2017_Jac").value == 77.5
    assert printed("1", "NAS-LoRA", "params_m").half_unit == pytest.approx(0.0005)
    assert printed("1", "LoRA", "kvasir_S").half_unit == pytest.approx(0.05)
    with pytest.raises(KeyError):
        printed("1", "LoRA", "kvasir_F")
    with pytest.raises(KeyError, match="no table"):
        printed("10", "LoRA", "kvasir_S")


def test_our_methods_are_rows_of_table_1() -> None:
    assert set(METHOD_ROWS.values()) == set(rows("1")) - {"Domain Specific"}
    assert list(METHOD_ROWS.values()) == list(rows("1"))[1:]


@pytest.mark.parametrize("table", ["1", "2", "3", "7", "8", "D1"])
def test_ratios_follow_from_parameters(table: str) -> None:
    """Of SAM ViT-H; two ratios are rounded down instead of to the nearest."""
    rounded_down = []
    for row in rows(table):
        if row in ("Domain Specific", "SAM (scratch)", "Translab", "Trans2Seg"):
            continue
        ratio = 100 * number(table, row, "params_m") / SAM_VIT_H_M
        stated = number(table, row, "ratio_pct")
        if abs(ratio - stated) > 0.005 + 1e-9:
            assert 0 < ratio - stated < 0.01
            rounded_down.append(number(table, row, "params_m"))
    assert set(rounded_down) <= {4.009}


def test_minutes_per_epoch_follow_from_iterations_over_2000_images() -> None:
    for row in rows("5"):
        if (rate := printed("5", row, "train_iter_per_s")) is not None:
            minutes = 2000 / rate.value / 60
            stated = number("5", row, "train_min_per_epoch")
            assert minutes == pytest.approx(stated, abs=0.15), row


def test_the_stated_saving_is_an_increase() -> None:
    base = number("5", "LoRA", "train_min_per_epoch")
    search = number("5", "NAS-PC-LoRA (update w and alpha)", "train_min_per_epoch")
    plain = number("5", "NAS-PC-LoRA (update w)", "train_min_per_epoch")
    conv = number("5", "Conv-LoRA", "train_min_per_epoch")
    assert search / base - 1 == pytest.approx(0.2414, abs=5e-5)
    schedule = (10 * plain + 30 * search) / 40
    assert schedule / base == pytest.approx(1.191, abs=5e-4)
    assert schedule / conv == pytest.approx(0.886, abs=5e-4)


def test_the_same_run_has_the_same_numbers_in_every_table() -> None:
    for column in ("isic2017_Jac", "isic2017_Dice"):
        here = number("1", "NAS-PC-LoRA", column)
        assert number("6", "NAS-PC-LoRA", column) == number("9", "10 / stage-wise", column) == here
    for column in ("leaf_IoU", "leaf_Dice"):
        here = number("1", "NAS-PC-LoRA", column)
        assert number("8", "1-32", column) == number("D1", "2/3", column) == here
        assert number("D1", "3/3", column) == number("1", "NAS-LoRA", column)
    for metric in ("Acc", "mIoU"):
        assert number("7", "3", f"trans10k_v2_{metric}") == number("3", "NAS-PC-LoRA", metric)
    methods = set(rows("1")) & set(rows("2")) & set(rows("3"))
    for row in methods:
        params = {number(table, row, "params_m") for table in ("1", "2", "3")}
        assert len(params) == 1


def test_ablation_differences() -> None:
    """Table 6 as printed in the text: what each group of operations is worth."""
    drops = {
        "without convolution": (1.3, 2.6, 1.2, 1.3),
        "without pooling": (0.3, 0.7, 0.3, 0.4),
        "without skip and no connection": (0.7, 1.5, 0.6, 0.6),
    }
    for row, expected in drops.items():
        for column, drop in zip(columns("6"), expected, strict=True):
            found = number("6", "NAS-PC-LoRA", column) - number("6", row, column)
            assert found == pytest.approx(drop, abs=1e-9)


def test_table_3_mixes_two_definitions_of_miou() -> None:
    classes = columns("3")[2:-2]
    assert len(classes) == 12
    matches: dict[str, set[str]] = {"with": set(), "without": set(), "neither": set()}
    for row in rows("3"):
        iou = [number("3", row, name) for name in classes]
        stated = number("3", row, "mIoU")
        fits = [
            name
            for name, mean in (("with", sum(iou) / 12), ("without", sum(iou[1:]) / 11))
            if abs(mean - stated) < 0.02
        ]
        matches[fits[0] if fits else "neither"].add(row)
    assert matches["with"] == {"Translab", "Trans2Seg"}
    assert matches["without"] == {"Decoder-only", "VPT", "LoRA", "Conv-LoRA"}
    assert matches["neither"] == {"DoRA", "VeRA", "NAS-LoRA", "NAS-PC-LoRA"}


DECODER_M, LOW_RANK_M = 3.505536, 0.163840  # ViT-H: the mask decoder; a rank on every fused qkv


def test_parameters_are_the_decoder_and_a_low_rank_branch_and_little_more() -> None:
    """Of the ranks in Table 7; of a half, Table 8 halves the sum, decoder included."""
    for rank in rows("7"):
        rest = number("7", rank, "params_m") - DECODER_M - LOW_RANK_M * int(rank)
        assert 0 < rest < 0.03
    whole = number("8", "1-32", "params_m")
    for half in ("1-16", "16-32"):
        assert number("8", half, "params_m") == pytest.approx(whole / 2, abs=6e-4)
        assert number("8", half, "params_m") < DECODER_M
    assert number("1", "VeRA", "params_m") < DECODER_M
    others = set(rows("1")) - {"Domain Specific", "VeRA"}
    assert all(number("1", row, "params_m") > DECODER_M - 0.005 for row in others)


def test_ablations_name_the_parameters_of_the_rows_they_share() -> None:
    for method, here in (("NAS-LoRA", "3/3"), ("NAS-PC-LoRA", "2/3")):
        for name in ("params_m", "ratio_pct"):
            assert number("D1", here, name) == number("1", method, name)
    for table, row in (("7", "3"), ("8", "1-32")):
        assert number(table, row, "params_m") == number("1", "NAS-PC-LoRA", "params_m")
    # 64 cells of 296, 192 and 96 parameters.
    counts = [number("D1", row, "params_m") for row in ("3/3", "2/3", "1/3")]
    steps = [above - below for above, below in itertools.pairwise(counts)]
    assert steps == pytest.approx([64 * 104 / 1e6, 64 * 96 / 1e6], abs=6e-4)


def test_shares_of_cited_networks_are_of_themselves() -> None:
    assert number("1", "SAM (scratch)", "params_m") == pytest.approx(SAM_VIT_H_M, abs=0.005)
    for table, row in (("2", "Translab"), ("3", "Translab"), ("3", "Trans2Seg")):
        assert number(table, row, "ratio_pct") == 100
        assert number(table, row, "params_m") < 100


@pytest.mark.parametrize(
    ("table", "overlap", "dice"),
    [
        ("1", "isic2017_Jac", "isic2017_Dice"),
        ("1", "leaf_IoU", "leaf_Dice"),
        ("1", "road_IoU", "road_Dice"),
        ("6", "isic2017_Jac", "isic2017_Dice"),
        ("8", "leaf_IoU", "leaf_Dice"),
        ("9", "isic2017_Jac", "isic2017_Dice"),
        ("D1", "leaf_IoU", "leaf_Dice"),
    ],
)
def test_dice_lies_between_jaccard_and_its_bound(table: str, overlap: str, dice: str) -> None:
    """Dice is concave in Jaccard, so its mean is at most that of the mean Jaccard."""
    for row in rows(table):
        jaccard, found = number(table, row, overlap) / 100, number(table, row, dice) / 100
        assert jaccard < found <= 2 * jaccard / (1 + jaccard) + 5e-4, row


@pytest.mark.parametrize("table", ["6", "9"])
def test_the_thresholded_jaccard_is_below_the_jaccard(table: str) -> None:
    for row in rows(table):
        assert number(table, row, "isic2017_TJac") < number(table, row, "isic2017_Jac")


def test_the_hard_images_are_harder_in_every_column() -> None:
    for row in rows("2"):
        for metric, sign in (("Acc", 1), ("mIoU", 1), ("MAE", -1), ("mBER", -1)):
            easy, hard = (number("2", row, f"{half}_{metric}") for half in ("easy", "hard"))
            assert sign * (easy - hard) > 0
