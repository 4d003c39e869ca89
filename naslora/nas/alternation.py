"""Stage-wise optimisation of weights w and architecture parameters alpha (Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from naslora.nas.cell import architecture_parameters, weight_parameters
from naslora.study.settings import TrainingSettings

Loss = Callable[[], Tensor]
Backward = Callable[[Tensor], None]


class AlternatingOptimizer:
    """Two Adam optimisers (coupled L2), and when each of them steps.

    Stage-wise: each step updates w with alpha fixed; once alpha is active, it then updates alpha
    with w fixed, by a second forward and backward. Simultaneous: one backward gives the gradients
    of both at the same point, and both step, so that alpha costs no pass of its own. Written as a
    sequence of updates it is the same alternation but for two delays: alpha's gradient is of the
    next batch instead of the same one again, and w's is taken before alpha's last update. Both are
    then two groups of one optimiser, since the gradient scaler of half precision may change its
    scale between the steps of two.

    The schedule counts epochs and steps from 1: alpha is active in epochs after `start_epoch`
    (T_B), on every `every_n_steps`-th step of an epoch. A model without alpha has one optimiser,
    and every step is a plain Adam step.

    Args:
        model: holds the parameters; those with `requires_grad` now are the ones optimised.
        training: learning rates, weight decays and the schedule.
        idle_gradients: compute the gradients of the fixed group too, and drop them. The model
            then sees one set of trainable parameters all along, as a wrapper that waits for
            every gradient needs it.

    Attributes:
        weights: the optimiser of w; simultaneously, of w and alpha.
        architecture: the optimiser of alpha alone, or None.
    """

    def __init__(
        self, model: nn.Module, training: TrainingSettings, *, idle_gradients: bool = False
    ):
        self._settings = training.architecture
        self._idle_gradients = idle_gradients
        self._w = weight_parameters(model)
        self._alpha = architecture_parameters(model)
        self.weights: torch.optim.Optimizer = torch.optim.Adam(
            self._w, lr=training.learning_rate, weight_decay=training.weight_decay
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
                self.architecture = torch.optim.Adam([alpha])

    def wrap(self, setup: Callable[[torch.optim.Optimizer], Any]) -> None:
        """Replace each optimiser by what `setup` makes of it, such as Fabric's wrapper."""
        self.weights = setup(self.weights)
        if self.architecture is not None:
            self.architecture = setup(self.architecture)

    def alpha_active(self, epoch: int, step: int) -> bool:
        """Whether alpha is updated in this epoch and step, both counted from 1."""
        return (
            bool(self._alpha)
            and epoch > self._settings.start_epoch
            and step % self._settings.every_n_steps == 0
        )

    def ever_active(self, epochs: int, steps: int) -> bool:
        """Whether alpha is updated at all in so many epochs of so many steps each."""
        return any(self.alpha_active(epochs, step) for step in range(1, steps + 1))

    def second_pass(self, epoch: int, step: int) -> bool:
        """Whether this step runs a second forward and backward, for alpha alone."""
        return self._settings.alternation == "stage_wise" and self.alpha_active(epoch, step)

    def step(
        self,
        epoch: int,
        step: int,
        loss: Loss,
        architecture_loss: Loss | None = None,
        backward: Backward = torch.Tensor.backward,
    ) -> tuple[Tensor, Tensor | None]:
        """Make one step of the schedule.

        Args:
            epoch: counted from 1.
            step: counted from 1.
            loss: runs the model forward on the training batch; it should raise on a loss that
                is not finite, since the parameters change right after.
            architecture_loss: the same on the data for alpha; by default `loss` itself.
            backward: called with a loss, such as Fabric's `backward`.

        Returns:
            The losses of the first and the second pass, detached; None without a second pass.
        """
        apart = self.second_pass(epoch, step)
        together = self.alpha_active(epoch, step) and not apart
        first = self._pass(loss, backward, fixed=[] if together else self._alpha)
        if not together:
            _clear(self._alpha)  # an idle gradient
        self.weights.step()
        _clear((*self._w, *self._alpha))
        if not apart or self.architecture is None:
            return first, None
        second = self._pass(architecture_loss or loss, backward, fixed=self._w)
        self.architecture.step()
        _clear((*self._w, *self._alpha))
        return first, second

    def state_dict(self) -> dict[str, Any]:
        """The state of both optimisers."""
        return {
            "weights": self.weights.state_dict(),
            "architecture": self.architecture and self.architecture.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: the state is of a model with other parameters.
        """
        if (state["architecture"] is None) != (self.architecture is None):
            raise ValueError("one of the state and the model has architecture parameters")
        self.weights.load_state_dict(state["weights"])
        if self.architecture is not None:
            self.architecture.load_state_dict(state["architecture"])

    def _pass(self, loss: Loss, backward: Backward, fixed: Sequence[nn.Parameter]) -> Tensor:
        with _fixed([] if self._idle_gradients else fixed):
            value = loss()
            backward(value)
        return value.detach()


def _clear(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


@contextmanager
def _fixed(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
