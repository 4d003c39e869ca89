"""The timing protocol, with a simulated clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from naslora.timing.protocol import DroppedError, Samples, alternate


class Machine:
    """A simulated machine: it sets how long calls take, and records all events."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events: list[str] = []

    def clock(self) -> float:
        return self.now

    def synchronise(self) -> None:
        self.events.append("wait")

    def call(self, name: str, *seconds: float) -> Callable[[], None]:
        """A function that takes the next of `seconds` at each call, and then always the last."""
        left = list(seconds)

        def call() -> None:
            self.events.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_calls_take_turns_and_every_other_round_goes_backwards(machine: Machine) -> None:
    calls = {"a": machine.call("a", 1), "b": machine.call("b", 2)}
    found = alternate(
        calls,
        steps=2,
        warm_up=1,
        repeats=3,
        synchronise=machine.synchronise,
        clock=machine.clock,
    )
    turns = {name: [name, "wait", name, name, "wait"] for name in "ab"}
    assert machine.events == [event for name in "abbaab" for event in turns[name]]
    assert found == {"a": Samples((1, 1, 1)), "b": Samples((2, 2, 2))}


def test_warm_up_does_not_count_and_a_turn_is_the_mean_of_its_steps(machine: Machine) -> None:
    calls = {"a": machine.call("a", 100, 1, 3, 100, 5, 6)}
    found = alternate(calls, steps=2, warm_up=1, repeats=2, clock=machine.clock)
    assert found["a"].seconds == (2, 5.5)


def test_what_cannot_be_timed_is_dropped_alone(machine: Machine) -> None:
    rounds = []

    def fails() -> None:
        rounds.append(machine.now)
        if len(rounds) > 2:
            raise DroppedError("out of memory")

    calls = {"a": machine.call("a", 1), "b": fails, "c": machine.call("c", 2)}
    found = alternate(calls, steps=1, warm_up=1, repeats=4, clock=machine.clock)
    assert found["b"] == Samples((), "out of memory")
    assert len(rounds) == 3  # once, and no turn after it
    assert found["a"].seconds == (1, 1, 1, 1)
    assert found["c"].seconds == (2, 2, 2, 2)


def test_other_errors_are_not_swallowed() -> None:
    def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        alternate({"a": fails}, steps=1, warm_up=0, repeats=1)
