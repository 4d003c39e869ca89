"""A merged copy of an adapted SAM, and the change of masks by an approximate merge."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from naslora.core.errors import SettingsError
from naslora.evaluation.binary import THRESHOLD
from naslora.methods.merge import merge
from naslora.methods.registry import adaptation_of, get_method
from naslora.nas.dense import Estimator
from naslora.sam.building import Sam
from naslora.sam.inference import class_numbers, semantic_probabilities


def merged_copy(
    sam: Sam,
    estimator: Estimator | None,
    images: Sequence[Tensor],
    log: Callable[[str], None],
    *,
    collapse: bool,
) -> Sam:
    """Copy a SAM, in float32 on the CPU for inference, and merge its method.

    Args:
        sam: plain or adapted; it is not changed.
        estimator: of an approximate merge of NAS cells; by default, only exact merges are done.
        images: batches (B, 3, H, W) in 0..255 to measure an approximate merge on.
        log: called with what was done, and with the measured loss.
        collapse: whether layers that do not merge may stay, with cells in their collapsed form.

    Raises:
        SettingsError: the method does not merge, and `collapse` is not set; or an approximate
            merge lacks images or is not available for the method.
    """
    found = copy.deepcopy(sam).float().cpu().eval()
    adaptation = adaptation_of(found)
    if adaptation is None:
        return found
    method = get_method(adaptation.method)
    if estimator is not None:
        if "dense" not in method.merges:
            raise SettingsError(f"{method.title} has no cells to merge", remedy="give no estimator")
        if not images:
            raise SettingsError(
                "an approximate merge changes outputs, and there are no images to measure by how"
                " much",
                remedy="give some images of the domain",
            )
        before = [_predicted(found, batch) for batch in images]
        merge(found, "dense", estimator=estimator, images=images, log=log)
        after = [_predicted(found, batch) for batch in images]
        changed = torch.cat([(a != b).flatten() for a, b in zip(after, before, strict=True)])
        log(
            f"on {len(images)} images, the merge changes {changed.double().mean().item():.2%} of"
            " the pixels of the masks"
        )
        return found
    if "exact" in method.merges:
        log(f"{method.title} is merged into the weights, which changes no output")
        return merge(found)
    if not collapse:
        approximate = "dense" in method.merges
        raise SettingsError(
            f"{method.title} does not merge into the weights of a SAM"
            + (" without changing its outputs" if approximate else ""),
            remedy="give an estimator for an approximate merge, and images to measure its loss; or"
            " export to onnx"
            if approximate
            else "export to onnx",
        )
    if "collapsed" in method.merges and adaptation.settings.get("style") != "darts":
        log(f"the cells of {method.title} are collapsed, which changes no output")
        return merge(found, "collapsed")
    log(f"{method.title} stays as it was trained")
    return found


@torch.inference_mode()
def _predicted(sam: Sam, batch: Tensor) -> Tensor:
    """The masks (B, H, W) that a SAM predicts: foreground, or class numbers."""
    scores = semantic_probabilities(sam(batch), sam.image_size)
    return class_numbers(scores) if sam.classes > 1 else scores[:, 0] > THRESHOLD
