from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from naslora.core.errors import SettingsError
from naslora.study.settings import Study, load_study, parse_overrides

CONFIG = Path(__file__).parents[2] / "config"
Load = Callable[..., Study]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a study `mine` with the given deltas."""

    def make(
        deltas: dict[str, Any] | None = None, overrides: dict[str, Any] | None = None
    ) -> Study:
        defaults = (CONFIG / "defaults.yaml").read_text(encoding="utf-8")
        (tmp_path / "defaults.yaml").write_text(defaults, encoding="utf-8")
        text = yaml.safe_dump(deltas or {"data": {"split_seed": 0}})
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return load_study("mine", overrides, tmp_path)

    return make


@pytest.mark.parametrize("name", ["rehearsal", "sample", "paper"])
def test_shipped_studies_are_valid(name: str) -> None:
    study = load_study(name, config=CONFIG)
    assert study.study == name
    assert study.runs()
    for run in study.runs():
        study.run(*run)


def test_defaults_are_the_papers() -> None:
    training = load_study("paper", config=CONFIG).training
    assert (training.epochs, training.batch_size) == (40, 4)
    assert (training.learning_rate, training.weight_decay) == (1e-4, 1e-4)
    assert (training.lambda_seg, training.lambda_cls) == (1, 2)
    alpha = training.architecture
    assert (alpha.start_epoch, alpha.learning_rate, alpha.weight_decay) == (10, 1e-3, 1e-3)
    assert alpha.alternation == "stage_wise"


def test_the_default_study() -> None:
    assert load_study(config=CONFIG).study == "rehearsal"
    assert load_study(None, {"study": "sample"}, CONFIG).study == "sample"


def test_later_sources_win_and_others_stay(load: Load) -> None:
    deltas = {"training": {"epochs": 7, "architecture": {"start_epoch": 3}}}
    study = load(deltas, {"training": {"epochs": 9}})
    assert study.training.epochs == 9
    assert study.training.architecture.start_epoch == 3
    assert study.training.batch_size == 4


def test_dotted_and_nested_overrides_are_the_same(load: Load) -> None:
    dotted = load(None, {"training.architecture.start_epoch": 2, "training.epochs": 5})
    nested = load(None, {"training": {"epochs": 5, "architecture.start_epoch": 2}})
    assert dotted == nested
    assert dotted.training.architecture.start_epoch == 2


def test_overrides_of_one_mapping_add_up(load: Load) -> None:
    study = load(None, {"training.epochs": 5, "training": {"batch_size": 2}})
    assert (study.training.epochs, study.training.batch_size) == (5, 2)
    study = load(None, {"training": {"architecture": {"start_epoch": 5}}, "training.epochs": 3})
    assert (study.training.epochs, study.training.architecture.start_epoch) == (3, 5)
    with pytest.raises(SettingsError, match="training"):
        load(None, {"training": 5})
    assert load(None, {"training": 5, "training.epochs": 3}).training.epochs == 3


@pytest.mark.parametrize(
    ("overrides", "where", "hint"),
    [
        ({"trainig": {}}, "trainig", "did you mean training"),
        ({"training.epoch": 3}, "training.epoch", "did you mean training.epochs"),
        (
            {"training.architecture.star_epoch": 3},
            "training.architecture.star_epoch",
            "did you mean training.architecture.start_epoch",
        ),
        ({"zzz": 1}, "zzz", "choose one of"),
    ],
)
def test_unknown_keys_are_named_with_a_suggestion(
    load: Load, overrides: dict[str, Any], where: str, hint: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, overrides)
    assert f"unknown setting {where} in the command line" in caught.value.what
    assert hint in (caught.value.remedy or "")
    with pytest.raises(SettingsError, match=r"mine\.yaml"):
        load({"sam": {"backbon": "tiny"}})


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        ({"training.epochs": 0}, "training.epochs"),
        ({"training.epochs": "many"}, "training.epochs"),
        ({"training.epochs": None}, "training.epochs"),
        ({"training.horizontal_flip": 1.5}, "training.horizontal_flip"),
        ({"training.learning_rate": float("inf")}, "training.learning_rate"),
        ({"training.learning_rate": float("nan")}, "training.learning_rate"),
        ({"sam.image_size": 100}, "sam.image_size"),
        ({"sam.backbone": "vit_x"}, "sam.backbone"),
        ({"training": 3}, "training"),
        ({"seeds": [0, 0]}, "seeds"),
        ({"seeds": [-1]}, "seeds.0"),
        ({"seeds": [2**64]}, "seeds.0"),
        ({"data.split_seed": 2**64}, "data.split_seed"),
        ({"methods": []}, "methods"),
        ({"methods": ["LoRA"]}, "methods.0"),
        ({"variants": {"lora": {"method": "lora"}}}, "two rows with one name: lora"),
        ({"variants": {"a": {"methd": "lora"}}}, "variants.a"),
        ({"generated": {"kvasir": 0}}, "generated.kvasir"),
        (
            {"training.architecture": {"alternation": "simultaneous", "data": "val"}},
            "training.architecture",
        ),
    ],
)
def test_invalid_values_are_named_by_path(
    load: Load, overrides: dict[str, Any], place: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, overrides)
    assert place in caught.value.what
    assert caught.value.remedy


def test_missing_and_broken_files(tmp_path: Path, load: Load) -> None:
    assert load_study(config=tmp_path / "nowhere").study == "rehearsal"  # from the package
    load()
    with pytest.raises(SettingsError, match="no study named 'other'") as caught:
        load_study("other", config=tmp_path)
    assert caught.value.where == tmp_path / "other.yaml"
    known = "mine, own, paper, pilot, rehearsal, sample, workstation"
    assert caught.value.remedy == f"choose one of {known}, or write this file"
    for text, message in (("a: [", "not valid YAML"), ("- a", "must be a mapping")):
        (tmp_path / "mine.yaml").write_text(text)
        with pytest.raises(SettingsError, match=message):
            load_study("mine", config=tmp_path)


def test_override_pairs() -> None:
    pairs = ["training.epochs=5", "archives=/data/a=b", "seeds=[1, 2]", "generated={}", "x="]
    assert parse_overrides(pairs) == {
        "training.epochs": 5,
        "archives": "/data/a=b",
        "seeds": [1, 2],
        "generated": {},
        "x": None,
    }
    for pair in ("training.epochs", "=5"):
        with pytest.raises(SettingsError, match="cannot read the override"):
            parse_overrides([pair])
    with pytest.raises(SettingsError, match="seeds is not valid YAML"):
        parse_overrides(["seeds=[1"])


VARIANT = {
    "method": "nas_lora",
    "settings": {"rank": 6},
    "training": {"epochs": 5, "architecture": {"start_epoch": 1}},
}


def test_variants_are_a_method_with_deltas(load: Load) -> None:
    deltas = {"variants": {"wide": VARIANT}, "method_settings": {"nas_lora": {"ratio": 1.0}}}
    study = load(deltas)
    assert study.run_names("kvasir") == [*study.methods, "wide"]
    run, plain = study.run("kvasir", "wide", 1), study.run("kvasir", "nas_lora", 1)
    assert (run.method, run.variant) == ("nas_lora", "wide")
    assert run.method_settings == {"ratio": 1.0, "rank": 6}
    assert plain.method_settings == {"ratio": 1.0}
    assert (run.training.epochs, run.training.architecture.start_epoch) == (5, 1)
    assert run.training.batch_size == plain.training.batch_size
    assert plain.training == study.training


def test_null_leaves_a_variant_out(load: Load) -> None:
    assert {"rank_6", "rank_12"} <= {*load({}).variants}
    study = load({"variants": {"rank_6": None, "wide": VARIANT}})
    assert "rank_6" not in study.variants
    assert {"rank_12", "wide"} <= {*study.variants}
    assert "rank_6" not in load(None, {"variants.rank_6": None}).variants
    with pytest.raises(SettingsError, match="no variant rank_5 that"):
        load({"variants": {"rank_5": None}})


def test_variants_run_on_their_tasks_alone(load: Load) -> None:
    variants = {"narrow": {**VARIANT, "tasks": ["leaf", "sbu"]}, "wide": VARIANT}
    study = load(
        {"variants": variants, "tasks": ["kvasir", "leaf"], "seeds": [0, 3], "methods": ["lora"]}
    )
    own = [name for name in study.run_names("leaf") if name in variants]
    assert own == ["narrow", "wide"]
    assert study.run_names("kvasir") == ["lora", "wide"]
    assert study.tasks_of("narrow") == ["leaf"]
    assert study.tasks_of("lora") == study.tasks_of("wide") == ["kvasir", "leaf"]
    runs = [run for run in study.runs() if run[1] in variants]
    assert runs == [
        *(("kvasir", "wide", seed) for seed in (0, 3)),
        *(("leaf", name, seed) for name in own for seed in (0, 3)),
    ]
    with pytest.raises(SettingsError, match="narrow of study 'mine' does not run on kvasir"):
        study.run("kvasir", "narrow", 0)
    assert "narrow" not in load({"variants": variants, "tasks": ["kvasir"]}).run_names()


def test_a_network_may_be_for_some_tasks_alone(load: Load) -> None:
    networks = {"networks": ["unet", "linknet34"], "network_tasks": {"linknet34": ["leaf"]}}
    study = load({**networks, "tasks": ["kvasir", "leaf"], "variants": {}, "seeds": [0]})
    assert study.run_names("kvasir") == [*study.methods, "unet"]
    assert study.run_names("leaf") == [*study.methods, "unet", "linknet34"]
    assert ("kvasir", "linknet34", 0) not in study.runs()
    with pytest.raises(SettingsError, match="linknet34 of study 'mine' does not run on kvasir"):
        study.run("kvasir", "linknet34", 0)
    with pytest.raises(SettingsError, match="network_tasks names unet, not among the networks"):
        load({"networks": [], "network_tasks": {"unet": ["leaf"]}})


def test_a_task_may_be_trained_for_longer(load: Load) -> None:
    longer = {"leaf": {"epochs": 90, "architecture": {"start_epoch": 20}}}
    overrides = {"tasks": ["kvasir", "leaf"], "task_training": longer, "variants": {"v": VARIANT}}
    study = load(overrides)
    leaf, kvasir = study.run("leaf", "lora", 0).training, study.run("kvasir", "lora", 0).training
    assert kvasir == study.training
    assert (leaf.epochs, leaf.architecture.start_epoch) == (90, 20)
    assert leaf.architecture.learning_rate == kvasir.architecture.learning_rate
    assert study.run("leaf", "v", 0).training.epochs == VARIANT["training"]["epochs"]
    assert study.epochs_text() == f"{study.training.epochs} to 90 epochs"
    assert load({"tasks": ["leaf"], "training": {"epochs": 1}}).epochs_text() == "1 epoch"
    alone = load({"tasks": ["kvasir"], "task_training": longer})
    assert alone.epochs_text() == f"{study.training.epochs} epochs"
    dotted = load({"tasks": ["leaf"]}, {"task_training.leaf.epochs": 7})
    assert dotted.training_of("leaf").epochs == 7


def test_the_command_line_is_for_all_tasks(load: Load) -> None:
    longer = {"leaf": {"epochs": 90, "architecture": {"start_epoch": 20, "every_n_steps": 2}}}
    own = {"tasks": ["leaf"], "task_training": longer}
    chosen = {"training.epochs": 3, "training": {"architecture": {"start_epoch": 1}}}
    training = load(own, chosen).training_of("leaf")
    assert training.epochs == 3
    assert training.architecture.start_epoch == 1
    assert training.architecture.every_n_steps == 2
    both = {**chosen, "task_training.leaf.epochs": 7}
    assert load(own, both).training_of("leaf").epochs == 7
    assert load(own).training_of("leaf").epochs == 90
    dotted = {"tasks": ["leaf"], "task_training": {"leaf": {"architecture.start_epoch": 20}}}
    assert load(dotted).training_of("leaf").architecture.start_epoch == 20
    assert load(dotted, chosen).training_of("leaf").architecture.start_epoch == 1


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"epochs": 0}, r"epochs"),
        ({"epoch": 3}, r"unknown setting epoch in task_training\.leaf"),
        ({"devices": 2}, r"task_training\.leaf .* sets devices, which all tasks have in common"),
    ],
)
def test_invalid_training_of_a_task(load: Load, training: dict[str, Any], message: str) -> None:
    study = load({"tasks": ["leaf"], "task_training": {"leaf": training}})
    with pytest.raises(SettingsError, match=message):
        study.run("leaf", "lora", 0)


def test_ablations_of_the_paper_run_on_the_paper_s_tasks() -> None:
    study = load_study("paper", config=CONFIG)
    on = {name: study.tasks_of(name) for name in study.variants}
    linear = [on.pop("nas_lora_linear"), on.pop("nas_pc_lora_linear")]
    assert linear == 2 * [study.tasks]
    assert sorted(task for tasks in on.values() for task in tasks) == sorted(
        6 * ["isic2017"] + 3 * ["leaf"] + 3 * ["trans10k_v2"]
    )
    assert len(study.runs()) == (9 * (12 + 2 + len(study.networks)) + 12) * 3


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"epochs": 0}, r"training\.epochs"),
        ({"epoch": 3}, "unknown setting epoch in variant wide"),
        ({"architecture": {"data": "test"}}, r"training\.architecture\.data"),
    ],
)
def test_invalid_variants(load: Load, training: dict[str, Any], message: str) -> None:
    study = load({"variants": {"wide": {**VARIANT, "training": training}}})
    with pytest.raises(SettingsError, match=message):
        study.run("kvasir", "wide", 0)


def test_unknown_runs(load: Load) -> None:
    study = load()
    with pytest.raises(SettingsError, match="no task named 'moon'"):
        study.run("moon", "lora", 0)
    with pytest.raises(SettingsError, match="no method or variant named 'lor'"):
        study.run("kvasir", "lor", 0)
    with pytest.raises(SettingsError, match="seed"):
        study.run("kvasir", "lora", -1)


def test_the_fingerprint_is_of_what_a_run_depends_on(load: Load, tmp_path: Path) -> None:
    def of(**overrides: Any) -> str:
        return load(None, overrides).run("kvasir", "lora", 0).fingerprint()

    base = of()
    assert base == of(results=str(tmp_path / "elsewhere"), archives="/other")
    assert base == of(**{"sam.checkpoints": "/other"})
    assert base == of(methods=["lora"], seeds=[0, 5], **{"evaluation.size": "input"})
    assert base == of(**{"training.learning_rate": 0.0001})
    assert base == of(method_settings={"dora": {"rank": 9}})
    changes = [
        {"training.epochs": 39},
        {"training.threads": 2},
        {"sam.image_size": 512},
        {"sam.checkpoint": "random"},
        {"data.split_seed": 1},
        {"method_settings": {"lora": {"rank": 9}}},
    ]
    assert len({base, *(of(**change) for change in changes)}) == len(changes) + 1
    study = load()
    runs = [study.run("kvasir", "lora", 1), study.run("kvasir", "nas_lora", 0)]
    assert len({base, *(run.fingerprint() for run in runs)}) == 3


def test_a_receipt_names_a_checkpoint_without_its_folder(load: Load) -> None:
    paths = ("sam.checkpoint", "pretraining.start")
    study = load(None, dict.fromkeys(paths, "/home/jane/weights/sam.pth"))
    recorded = study.run("kvasir", "lora", 0).recorded()
    assert recorded["sam"]["checkpoint"] == "sam.pth"
    assert "jane" not in json.dumps([recorded, study.pretraining.recorded()])


def test_settings_cannot_be_changed(load: Load) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().training.epochs = 3
