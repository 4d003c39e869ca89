"""Weights of the classes in the losses, for classes that are rare in the training images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from naslora.core.errors import SettingsError
from naslora.data.dataset import SegmentationDataset
from naslora.data.masks import IGNORE
from naslora.study.settings import TrainingSettings


def class_weights(
    settings: TrainingSettings, images: SegmentationDataset, classes: int
) -> Tensor | None:
    """The weights that the setting `training.class_weights` asks for.

    They weight the pixels of a binary task in the cross-entropy of its mask, and the mask tokens of
    a multi-class task in the cross-entropy of their classes. "balanced" is n / (K n_c), as in
    scikit-learn, where n_c counts what is weighted: pixels of class c, or images that show it.

    Args:
        settings: of the training.
        images: the training images.
        classes: 1 for a binary task, else the number of classes with the background.

    Returns:
        (2,) background and foreground, or (K,); None where all classes weigh the same.

    Raises:
        SettingsError: the setting lists the wrong number of weights; it is "balanced" and a class
            is in no training image; or all mask tokens of an image may weigh nothing.
    """
    wanted, count = settings.class_weights, max(classes, 2)
    if wanted is None:
        return None
    if wanted != "balanced":
        if len(wanted) != count:
            raise SettingsError(
                f"training.class_weights lists {len(wanted)} weights; this task needs {count}, the"
                " background first"
            )
        if classes > 1 and not settings.no_object_weight and not all(wanted):
            raise SettingsError(
                "training.no_object_weight and one of training.class_weights are both 0, so an"
                " image of that class alone would have no loss",
                remedy="set one of them above 0",
            )
        return torch.tensor(wanted)
    found = np.zeros(count, np.int64)
    for index in range(len(images)):
        labels = images[index][1].numpy()
        pixels = np.bincount(labels.ravel(), minlength=IGNORE + 1)[:count]
        found += pixels if classes == 1 else pixels > 0
    if not found.all():
        names = [str(number) for number in np.flatnonzero(found == 0)]
        raise SettingsError(
            "training.class_weights is balanced, but no training image shows class "
            + ", ".join(names),
            remedy="list the weights, or set it to null",
        )
    return torch.from_numpy(found.sum() / (count * found)).float()
