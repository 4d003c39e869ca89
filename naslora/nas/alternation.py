"""Alternating optimisation of weights w and architecture parameters alpha (Algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from naslora.nas.cell import architecture_parameters, weight_parameters
from naslora.nas.settings import OptimiserSettings

Loss = Callable[[], Tensor]
Backward = Callable[[Tensor], None]


class AlternatingOptimizer:
    """Two Adam optimisers with coupled L2, one for w and one for alpha, and their schedule.

    Stage-wise: each step updates w with alpha fixed; after epoch T_B (`start_epoch`), every
    `every_n_steps`-th step then updates alpha with w fixed, from a second forward and backward
    pass. Simultaneous: one pass gives the gradients of both, and both are updated. Both are then
    groups of one optimiser, since the gradient scaler of half precision may change its scale
    between the steps of two.

    A model without alpha has one optimiser, and every step is a plain Adam step. Epochs and steps
    are counted from 1. Adam is torch's fused one, which takes a third of the time of its loop over
    parameters on a CPU, where a small model has many small parameters.

    Args:
        model: its parameters with `requires_grad` are optimised.
        settings: learning rates, weight decays and the schedule.
        keep_frozen_gradients: compute the gradients of the fixed parameters too, and drop them.
            Distributed training needs this, since `DistributedDataParallel` waits for the gradient
            of every parameter.

    Attributes:
        weights: the optimiser of w; if simultaneous, of w and alpha.
        architecture: the optimiser of alpha; None without alpha, or if simultaneous.
    """

    def __init__(
        self, model: nn.Module, settings: OptimiserSettings, *, keep_frozen_gradients: bool = False
    ):
        self._settings = settings.architecture
        self._learning_rate, self._decay_start = settings.learning_rate, settings.decay_start
        self._keep_frozen_gradients = keep_frozen_gradients
        self._w = weight_parameters(model)
        self._alpha = architecture_parameters(model)
        self.weights: torch.optim.Optimizer = torch.optim.Adam(
            self._w, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.architecture: torch.optim.Optimizer | None = None
        if self._alpha:
            alpha = {
                "params": self._alpha,
                "lr": self._settings.learning_rate,
                "weight_decay": self._settings.weight_decay,
            }
            if self._settings.alternation == "simultaneous":
                self.weights.add_param_group(alpha)
            else:
                self.architecture = torch.optim.Adam([alpha], fused=True)

    def wrap(self, setup: Callable[[torch.optim.Optimizer], Any]) -> None:
        """Replace each optimiser by `setup(optimiser)`, such as Fabric's wrapper."""
        self.weights = setup(self.weights)
        if self.architecture is not None:
            self.architecture = setup(self.architecture)

    def alpha_active(self, epoch: int, step: int) -> bool:
        """Whether this step updates alpha."""
        return (
            bool(self._alpha)
            and epoch > self._settings.start_epoch
            and step % self._settings.every_n_steps == 0
        )

    def ever_active(self, epochs: int, steps: int) -> bool:
        """Whether alpha is ever updated in a run of `epochs` epochs of `steps` steps each."""
        return any(self.alpha_active(epochs, step) for step in range(1, steps + 1))

    def second_pass(self, epoch: int, step: int) -> bool:
        """Whether this step has a second forward and backward pass, for alpha only."""
        return self._settings.alternation == "stage_wise" and self.alpha_active(epoch, step)

    def set_progress(self, done: float) -> None:
        """Set the learning rate of w for the next step by its schedule.

        Args:
            done: share of the run's steps done so far, in [0, 1).
        """
        if done > self._decay_start:
            decayed = (done - self._decay_start) / (1 - self._decay_start)
            factor = (1 + math.cos(math.pi * decayed)) / 2
            self.weights.param_groups[0]["lr"] = self._learning_rate * factor

    @contextmanager
    def weights_step(self, epoch: int, step: int) -> Iterator[None]:
        """Update w, and in an active simultaneous step alpha, by the gradients of the block.

        In all other steps, alpha is fixed in the block. If the block raises, nothing is updated.
        """
        together = self.alpha_active(epoch, step) and self.architecture is None
        with self._fixed([] if together else self._alpha):
            yield
        if not together:
            _clear(self._alpha)  # there only with `keep_frozen_gradients`
        self.weights.step()
        _clear((*self._w, *self._alpha))

    @contextmanager
    def alpha_step(self) -> Iterator[None]:
        """Update alpha by the gradients of the block, with w fixed.

        If the block raises, nothing is updated.
        """
        assert self.architecture is not None
        with self._fixed(self._w):
            yield
        self.architecture.step()
        _clear((*self._w, *self._alpha))

    def step(
        self,
        epoch: int,
        step: int,
        loss: Loss,
        alpha_loss: Loss | None = None,
        backward: Backward = torch.Tensor.backward,
    ) -> tuple[Tensor, Tensor | None]:
        """Make one step of the schedule: update w, and alpha if it is due.

        Args:
            epoch: counted from 1.
            step: counted from 1.
            loss: runs the model forward on a training batch and returns the loss.
            alpha_loss: the same on the data for alpha; by default `loss` itself.
            backward: called with a loss, such as Fabric's `backward`.

        Returns:
            The losses of the first and the second pass, detached; None without a second pass.
        """
        with self.weights_step(epoch, step):
            first = loss()
            backward(first)
        if not self.second_pass(epoch, step):
            return first.detach(), None
        with self.alpha_step():
            second = (alpha_loss or loss)()
            backward(second)
        return first.detach(), second.detach()

    def state_dict(self) -> dict[str, Any]:
        """The state of both optimisers."""
        return {
            "weights": self.weights.state_dict(),
            "architecture": self.architecture and self.architecture.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state.

        Raises:
            ValueError: the state is of a model with other parameters.
        """
        if (state["architecture"] is None) != (self.architecture is None):
            raise ValueError(
                "only one of the saved state and the model has architecture parameters"
            )
        self.weights.load_state_dict(state["weights"])
        if self.architecture is not None:
            self.architecture.load_state_dict(state["architecture"])

    @contextmanager
    def _fixed(self, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
        """Compute no gradients of these parameters, unless `keep_frozen_gradients` is set."""
        fixed = [] if self._keep_frozen_gradients else parameters
        for parameter in fixed:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in fixed:
                parameter.requires_grad_(True)


def _clear(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None
