"""A learning curve as a small inline SVG."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT = 420, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 12, 34


def learning_curve(losses: Sequence[float], start_epoch: int | None) -> Markup:
    """Mean training loss per epoch, from epoch 1.

    Args:
        losses: finite losses; of a run that diverged, those before that.
        start_epoch: the last epoch before alpha is trained, marked by a dotted line; None for a
            method without architecture parameters.
    """
    low, high = min(losses), max(losses)
    span = (high - low) or 1.0

    def x(epoch: float) -> float:
        share = (epoch - 1) / max(len(losses) - 1, 1)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(loss: float) -> float:
        return _TOP + (high - loss) / span * (_HEIGHT - _TOP - _BOTTOM)

    points = " ".join(f"{x(i):.1f},{y(loss):.1f}" for i, loss in enumerate(losses, start=1))
    floor = _HEIGHT - _BOTTOM
    parts = [
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="training loss, {losses[0]:.3f} in epoch 1, {losses[-1]:.3f} in the last">',
        f'<path class="axis" d="M{_LEFT} {_TOP}V{floor}H{_WIDTH - _RIGHT}"/>',
    ]
    for loss in dict.fromkeys((high, low)):
        parts.append(
            f'<text x="{_LEFT - 6}" y="{y(loss) + 4:.1f}" text-anchor="end">{loss:.3f}</text>'
        )
    for epoch in dict.fromkeys((1, len(losses))):
        parts.append(
            f'<text x="{x(epoch):.1f}" y="{floor + 16}" text-anchor="middle">{epoch}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{floor + 30}" text-anchor="middle">epoch</text>')
    if start_epoch is not None and 0 < start_epoch < len(losses):
        at = x(start_epoch + 0.5)
        parts.append(f'<path class="start" d="M{at:.1f} {_TOP}V{floor}"/>')
        parts.append(
            f'<text x="{at + 4:.1f}" y="{_TOP + 8}">T<tspan dy="3">B</tspan>'
            f'<tspan dy="-3"> = {start_epoch}</tspan></text>'
        )
    if len(losses) == 1:
        parts.append(f'<circle class="loss" cx="{x(1):.1f}" cy="{y(losses[0]):.1f}" r="3"/>')
    else:
        parts.append(f'<polyline class="loss" points="{points}"/>')
    return Markup("".join([*parts, "</svg>"]))
