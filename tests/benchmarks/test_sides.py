"""Turns of two sides with simulated clocks: what is measured, and when to stop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from ratios import LEAST, memory_ratios, time_ratio
from sides import Clocks, Limits, Side, SideError, Timer, alternate, busy_seconds

PROCESSORS = 2


class Machine:
    """Clocks of a machine with two processors, which jobs and other load advance."""

    def __init__(self) -> None:
        self.wall = self.own = self.busy = 0.0
        self.clocks = Clocks(
            lambda: self.wall, lambda: self.own, lambda: self.busy, processors=PROCESSORS
        )

    def work(self, seconds: float, others: float = 0.0) -> None:
        """Use both processors for `seconds`; it takes longer if others use a share of them."""
        self.own += PROCESSORS * seconds
        self.wall += seconds / (1 - others)
        self.busy += PROCESSORS * seconds / (1 - others)


def test_a_turn_is_measured_in_three_ways() -> None:
    machine = Machine()
    alone = Timer(lambda: machine.work(1.0), machine.clocks).turn()
    assert alone == pytest.approx({"seconds": 1.0, "cpu_seconds": 2.0, "outside": 0.0})
    beside = Timer(lambda: machine.work(1.0, others=0.5), machine.clocks).turn()
    assert beside == pytest.approx({"seconds": 2.0, "cpu_seconds": 2.0, "outside": 0.5})


def test_short_jobs_are_repeated_in_their_turn() -> None:
    machine, calls = Machine(), []

    def job() -> None:
        calls.append(1)
        machine.work(0.01)

    timer = Timer(job, machine.clocks)
    timer.turn()
    assert len(calls) == 1
    found = timer.turn()
    assert len(calls) == 1 + 25
    assert found["seconds"] == pytest.approx(0.01)


def test_the_machine_says_how_long_it_worked() -> None:
    before = busy_seconds()
    total = 0
    for number in range(2_000_000):
        total += number
    assert busy_seconds() > before > 0


class Scripted:
    """A side on a simulated machine, with a list of the other load in each turn."""

    machine: Machine
    loads: list[float]
    noise: np.random.Generator
    spread = 0.0
    log: list[str]

    def __init__(self, command: Sequence[str]):
        self.name, self.seconds = command[0], float(command[1])

    def repeat(self) -> dict[str, float]:
        self.log.append(self.name)
        seconds = self.seconds * float(self.noise.lognormal(sigma=self.spread))
        load = self.loads.pop(0) if self.loads else 0.0
        timer = Timer(lambda: self.machine.work(seconds, load), self.machine.clocks)
        return {**timer.turn(), "peak_gib": 2.0, "before_gib": 1.0}

    def close(self) -> None:
        self.log.append(f"{self.name} closed")


@pytest.fixture
def scripted() -> type[Scripted]:
    class Own(Scripted):
        machine = Machine()
        loads: list[float] = []  # noqa: RUF012
        noise = np.random.default_rng(0)
        log: list[str] = []  # noqa: RUF012

    return Own


SIDES = {"ours": ["ours", "1.0"], "theirs": ["theirs", "2.0"]}
PAIRS = [("ours", "theirs")]


def test_sides_take_single_turns_forwards_and_backwards(scripted: type[Scripted]) -> None:
    alternate(SIDES, PAIRS, Limits(turns=2, warm_up=1), start=scripted)
    assert scripted.log[:6] == ["ours", "theirs", "ours", "theirs", "theirs", "ours"]
    assert scripted.log[6:] == ["ours closed", "theirs closed"]


def test_steady_sides_need_the_fewest_turns(scripted: type[Scripted]) -> None:
    found = alternate(SIDES, PAIRS, Limits(), start=scripted)
    assert len(found["ours"]["seconds"]) == LEAST
    assert time_ratio("", found["ours"], found["theirs"], None)["value"] == pytest.approx(0.5)


def test_noise_needs_more_turns_until_the_interval_is_narrow(scripted: type[Scripted]) -> None:
    scripted.spread = 0.05
    found = alternate(SIDES, PAIRS, Limits(turns=200, width=0.05), start=scripted)
    line = time_ratio("", found["ours"], found["theirs"], None)
    assert LEAST < len(found["ours"]["seconds"]) < 200
    assert line["interval"][1] - line["interval"][0] <= 0.05 * line["value"]
    assert line["value"] == pytest.approx(0.5, rel=0.05)


def test_turns_beside_other_work_are_taken_again(scripted: type[Scripted]) -> None:
    """Other load in some turns does not change the ratio."""
    scripted.loads = [0, 0, 0.6, 0, 0, 0.5, 0.5, 0.5, *(0.3, 0) * 4]
    found = alternate(SIDES, PAIRS, Limits(), start=scripted)
    line = time_ratio("", found["ours"], found["theirs"], None)
    assert len(found["ours"]["seconds"]) == LEAST + 7
    assert f"{LEAST} of {LEAST + 7} turns" in line["note"]
    assert line["value"] == pytest.approx(0.5)
    assert found["ours"]["median_s"] == pytest.approx(1.0)


def test_it_ends_when_its_time_is_up(scripted: type[Scripted]) -> None:
    scripted.loads = [0.9] * 1000
    limits = Limits(turns=1000, minutes=5)
    clock = scripted.machine.clocks.wall
    found = alternate(SIDES, PAIRS, limits, start=scripted, clock=clock)
    assert 10 <= len(found["ours"]["seconds"]) <= 11  # of 30 s each
    assert time_ratio("", found["ours"], found["theirs"], None)["value"] is None


@pytest.mark.parametrize("turns", [0, 3])
def test_a_side_that_ends_leaves_the_others(scripted: type[Scripted], turns: int) -> None:
    class Ending(scripted):  # type: ignore[misc, valid-type]
        def repeat(self) -> dict[str, float]:
            if self.name == "theirs" and self.log.count("theirs") >= turns:
                raise SideError("ended with status 1: out of memory")
            return super().repeat()

    sides = {**SIDES, "others": ["others", "4.0"]}
    found = alternate(sides, [*PAIRS, ("ours", "others")], Limits(), start=Ending)
    assert found["theirs"] == {"failed": "ended with status 1: out of memory"}
    assert time_ratio("", found["ours"], found["others"], None)["value"] == pytest.approx(0.25)
    for line in (
        time_ratio("", found["ours"], found["theirs"], 0.5),
        *memory_ratios("memory", "ours / theirs", found["ours"], found["theirs"], 0.5),
    ):
        assert line["value"] is None
        assert "out of memory" in line["note"]
    assert scripted.log.count("theirs closed") == 1


def test_all_sides_are_closed_when_it_is_interrupted(scripted: type[Scripted]) -> None:
    class Interrupted(scripted):  # type: ignore[misc, valid-type]
        def repeat(self) -> dict[str, float]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        alternate(SIDES, PAIRS, Limits(), start=Interrupted)
    assert scripted.log == ["ours closed", "theirs closed"]


def test_a_process_that_ends_says_why() -> None:
    side = Side(["-c", "import sys; input(); sys.exit('no room')"])
    try:
        with pytest.raises(SideError, match="ended with status 1: no room"):
            side.repeat()
    finally:
        side.close()
