"""Algorithm 1: which parameters are updated, and when."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from naslora.nas.alternation import AlternatingOptimizer
from naslora.nas.cell import NASCell, architecture_parameters, weight_parameters
from naslora.study.settings import TrainingSettings, load_study


class Model(nn.Module):
    def __init__(self, cell: bool = True):
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Linear(5, 3)
        self.cell = NASCell(3) if cell else nn.Identity()
        self.up = nn.Linear(3, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.frozen(self.up(self.cell(self.down(x))))
        return y


def training(**architecture: Any) -> TrainingSettings:
    settings = load_study("paper").training
    values = {"learning_rate": 1e-3, "weight_decay": 1e-3, **architecture}
    return settings.model_copy(
        update={
            "learning_rate": 1e-2,
            "weight_decay": 1e-2,
            "architecture": settings.architecture.model_copy(update=values),
        }
    )


def batch(step: int) -> Tensor:
    return torch.randn(2, 6, 6, 5, generator=torch.Generator().manual_seed(step))


def loss_of(model: nn.Module, step: int) -> Callable[[], Tensor]:
    def loss() -> Tensor:
        y: Tensor = model(batch(step))
        return y.square().mean()

    return loss


def values(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [p.detach().clone() for p in parameters]


def close(model: nn.Module, reference: nn.Module) -> None:
    """The fused Adam of torch and its loop over parameters round in different places."""
    one, other = (values(list(m.parameters())) for m in (model, reference))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("idle", [False, True])
def test_alpha_is_still_until_after_start_epoch(idle: bool) -> None:
    model = Model()
    optimisers = AlternatingOptimizer(model, training(start_epoch=2), keep_frozen_gradients=idle)
    start = values(architecture_parameters(model))
    for epoch in (1, 2):
        for step in (1, 2):
            before = values(weight_parameters(model))
            _, second = optimisers.step(epoch, step, loss_of(model, step))
            assert second is None
            assert not same(before, values(weight_parameters(model)))
    assert same(start, values(architecture_parameters(model)))
    _, second = optimisers.step(3, 1, loss_of(model, 1))
    assert second is not None
    assert not same(start, values(architecture_parameters(model)))


@pytest.mark.parametrize("alternation", ["stage_wise", "simultaneous"])
def test_weight_lr_matches_cosine_annealing_and_alpha_lr_is_constant(
    alternation: str,
) -> None:
    settings = training(start_epoch=0, alternation=alternation)
    falling = AlternatingOptimizer(Model(), settings.model_copy(update={"decay_start": 2 / 9}))
    constant = AlternatingOptimizer(Model(), settings)
    constant_steps, falling_steps = 2, 7
    steps = constant_steps + falling_steps
    sgd = torch.optim.SGD([torch.zeros(1)], lr=settings.learning_rate)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=falling_steps)
    for step in range(steps):
        for optimiser in (falling, constant):
            optimiser.set_progress(step / steps)
        assert rate(falling.weights) == pytest.approx(torchs.get_last_lr()[0], rel=1e-6)
        assert rate(constant.weights) == settings.learning_rate
        alpha = falling.architecture or falling.weights
        assert alpha.param_groups[-1]["lr"] == settings.architecture.learning_rate
        if step >= constant_steps:
            sgd.step()
            torchs.step()


def rate(optimiser: torch.optim.Optimizer) -> float:
    return float(optimiser.param_groups[0]["lr"])


@pytest.mark.parametrize("idle", [False, True])
def test_weights_are_still_in_stage_two_and_alpha_in_stage_one(idle: bool) -> None:
    model = Model()
    optimisers = AlternatingOptimizer(model, training(start_epoch=0), keep_frozen_gradients=idle)
    seen: list[tuple[list[Tensor], list[Tensor]]] = []

    def loss() -> Tensor:
        seen.append((values(weight_parameters_all(model)), values(alphas(model))))
        return loss_of(model, 1)()

    optimisers.step(1, 1, loss)
    (w0, a0), (w1, a1) = seen
    assert not same(w0, w1)
    assert same(a0, a1)
    assert same(w1, values(weight_parameters_all(model)))
    assert not same(a1, values(alphas(model)))


def alphas(model: Model) -> list[nn.Parameter]:
    assert isinstance(model.cell, NASCell)
    return [model.cell.alpha]


def weight_parameters_all(model: Model) -> list[nn.Parameter]:
    """Including those whose gradient is switched off."""
    return [p for name, p in model.named_parameters() if name != "cell.alpha"]


def test_gradients_of_the_fixed_group_are_not_computed() -> None:
    model = Model()
    optimisers = AlternatingOptimizer(model, training(start_epoch=0))
    found: list[tuple[bool, bool]] = []

    def backward(loss: Tensor) -> None:
        loss.backward()
        weights = any(p.grad is not None for p in weight_parameters_all(model))
        found.append((weights, alphas(model)[0].grad is not None))

    optimisers.step(1, 1, loss_of(model, 1), backward=backward)
    assert found == [(True, False), (False, True)]
    assert all(p.requires_grad for p in (*alphas(model), *model.up.parameters()))
    assert all(p.grad is None for p in model.parameters())
    assert not model.frozen.weight.requires_grad


def test_requires_grad_comes_back_after_an_error() -> None:
    model = Model()
    optimisers = AlternatingOptimizer(model, training(start_epoch=0))

    def fails() -> Tensor:
        raise RuntimeError("loss")

    with pytest.raises(RuntimeError, match="loss"):
        optimisers.step(1, 1, loss_of(model, 1), alpha_loss=fails)
    assert model.up.weight.requires_grad


@pytest.mark.parametrize("idle", [False, True])
def test_equals_two_adams_by_hand(idle: bool) -> None:
    model = Model()
    reference = copy.deepcopy(model)
    optimisers = AlternatingOptimizer(
        model, training(start_epoch=1, every_n_steps=2), keep_frozen_gradients=idle
    )
    w = torch.optim.Adam([p for p in weight_parameters(reference)], lr=1e-2, weight_decay=1e-2)
    a = torch.optim.Adam(architecture_parameters(reference), lr=1e-3, weight_decay=1e-3)
    step = 0
    for epoch in (1, 2, 3):
        for _ in range(3):
            step += 1
            optimisers.step(epoch, step, loss_of(model, step), loss_of(model, 100 + step))
            w.zero_grad()
            loss_of(reference, step)().backward()
            w.step()
            if epoch > 1 and step % 2 == 0:
                a.zero_grad()
                loss_of(reference, 100 + step)().backward()
                a.step()
    close(model, reference)


def test_simultaneous_steps_both_on_one_backward() -> None:
    model = Model()
    reference = copy.deepcopy(model)
    optimisers = AlternatingOptimizer(model, training(start_epoch=0, alternation="simultaneous"))
    calls = 0

    def loss() -> Tensor:
        nonlocal calls
        calls += 1
        return loss_of(model, 1)()

    assert not optimisers.second_pass(1, 1)
    _, second = optimisers.step(1, 1, loss)
    assert calls == 1
    assert second is None
    groups = [(weight_parameters(reference), 1e-2), (architecture_parameters(reference), 1e-3)]
    adams = [torch.optim.Adam(p, lr=rate, weight_decay=rate) for p, rate in groups]
    loss_of(reference, 1)().backward()
    for adam in adams:
        adam.step()
    close(model, reference)


@pytest.mark.parametrize("idle", [False, True])
def test_simultaneous_waits_for_start_epoch_too(idle: bool) -> None:
    model = Model()
    settings = training(start_epoch=1, alternation="simultaneous")
    optimisers = AlternatingOptimizer(model, settings, keep_frozen_gradients=idle)
    start = values(alphas(model))
    optimisers.step(1, 1, loss_of(model, 1))
    assert same(start, values(alphas(model)))
    optimisers.step(2, 2, loss_of(model, 2))
    assert not same(start, values(alphas(model)))


@pytest.mark.parametrize("alternation", ["stage_wise", "simultaneous"])
def test_a_gradient_scaler_whose_scale_changes_at_each_step_changes_nothing(
    alternation: str,
) -> None:
    model = Model()
    reference = copy.deepcopy(model)
    settings = training(start_epoch=0, alternation=alternation)
    optimisers, plain = (AlternatingOptimizer(m, settings) for m in (model, reference))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=1)

    class Scaled:
        """As Fabric steps in precision 16-mixed."""

        def __init__(self, optimizer: torch.optim.Optimizer):
            self.optimizer = optimizer

        def step(self) -> None:
            scaler.step(self.optimizer)
            scaler.update()

    optimisers.wrap(Scaled)
    for step in (1, 2, 3):
        optimisers.step(
            1, step, loss_of(model, step), backward=lambda loss: scaler.scale(loss).backward()
        )
        plain.step(1, step, loss_of(reference, step))
    assert scaler.get_scale() == (2.0**7 if alternation == "stage_wise" else 2.0**4)
    assert same(values(list(model.parameters())), values(list(reference.parameters())))


def test_whether_alpha_is_ever_updated() -> None:
    settings = training(start_epoch=2, every_n_steps=5)
    optimisers = AlternatingOptimizer(Model(), settings)
    assert optimisers.ever_active(3, 5)
    assert not optimisers.ever_active(2, 5)
    assert not optimisers.ever_active(3, 4)
    assert not AlternatingOptimizer(Model(cell=False), settings).ever_active(3, 5)


def test_a_model_without_cells_has_plain_adam() -> None:
    model = Model(cell=False)
    reference = copy.deepcopy(model)
    optimisers = AlternatingOptimizer(model, training(start_epoch=0))
    assert optimisers.architecture is None
    assert not optimisers.alpha_active(5, 1)
    adam = torch.optim.Adam(weight_parameters(reference), lr=1e-2, weight_decay=1e-2)
    for step in (1, 2):
        optimisers.step(1, step, loss_of(model, step))
        adam.zero_grad()
        loss_of(reference, step)().backward()
        adam.step()
    close(model, reference)


def test_resumes_bit_for_bit() -> None:
    straight = Model()
    optimisers = AlternatingOptimizer(straight, training(start_epoch=0))
    for step in (1, 2):
        optimisers.step(1, step, loss_of(straight, step))
    resumed = copy.deepcopy(straight)
    state = copy.deepcopy(optimisers.state_dict())
    optimisers.step(1, 3, loss_of(straight, 3))
    again = AlternatingOptimizer(resumed, training(start_epoch=0))
    again.load_state_dict(state)
    again.step(1, 3, loss_of(resumed, 3))
    assert same(values(list(straight.parameters())), values(list(resumed.parameters())))


def test_simultaneous_resumes_bit_for_bit() -> None:
    settings = training(start_epoch=0, alternation="simultaneous")
    straight = Model()
    optimisers = AlternatingOptimizer(straight, settings)
    assert optimisers.architecture is None
    optimisers.step(1, 1, loss_of(straight, 1))
    resumed = copy.deepcopy(straight)
    again = AlternatingOptimizer(resumed, settings)
    again.load_state_dict(copy.deepcopy(optimisers.state_dict()))
    for model, optimiser in ((straight, optimisers), (resumed, again)):
        optimiser.step(1, 2, loss_of(model, 2))
    assert same(values(list(straight.parameters())), values(list(resumed.parameters())))


def test_refuses_the_state_of_another_kind_of_model() -> None:
    state = AlternatingOptimizer(Model(), training()).state_dict()
    with pytest.raises(ValueError, match="architecture"):
        AlternatingOptimizer(Model(cell=False), training()).load_state_dict(state)


def test_wrapped_optimisers_and_backward_are_used() -> None:
    model = Model()
    optimisers = AlternatingOptimizer(model, training(start_epoch=0))
    calls: list[str] = []

    class Wrapper:
        def __init__(self, optimizer: torch.optim.Optimizer):
            self.optimizer = optimizer

        def step(self) -> None:
            calls.append("step")
            self.optimizer.step()

    def backward(loss: Tensor) -> None:
        calls.append("backward")
        loss.backward()

    optimisers.wrap(Wrapper)
    optimisers.step(1, 1, loss_of(model, 1), backward=backward)
    assert calls == ["backward", "step", "backward", "step"]
