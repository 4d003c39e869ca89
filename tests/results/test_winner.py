"""Which method a comparison names as the best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from naslora.own.compare import find_winner
from naslora.study.settings import Study


def test_a_method_wins_only_if_it_is_significantly_better_than_all_others(
    make_study: Callable[..., Study], write_run: Callable[..., Path], tmp_path: Path
) -> None:
    study = make_study(tmp_path, methods=["decoder_only", "lora", "mona"], networks=[])
    assert find_winner(study).sentence == "No run ended with a score."
    base = {"decoder_only": 0.3, "lora": 0.5, "mona": 0.8}
    for method, score in base.items():
        for seed in study.seeds:
            write_run(study, method, seed, (score + 0.001 * seed,) * 3, images=20)
    won = find_winner(study)
    assert won.leaders == ("mona",)
    assert list(won.means) == ["mona", "lora", "decoder_only"]
    for seed in study.seeds:  # now as good as the best, up to chance
        write_run(study, "lora", seed, (0.8 - 0.02 * (seed - 1),) * 3, images=20)
    close = find_winner(study)
    assert set(close.leaders) == {"mona", "lora"}
