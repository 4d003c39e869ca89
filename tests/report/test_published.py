from __future__ import annotations

import pytest

from naslora.report.published import METHOD_ROWS, TABLES, columns, printed, rows

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
