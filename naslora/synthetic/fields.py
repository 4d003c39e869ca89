"""Types of drawn arrays: fields of floating-point values, and labels."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]
AnyField: TypeAlias = NDArray[np.floating]
Labels: TypeAlias = NDArray[np.uint8]

# An image uint8 (H, W, 3) and its labels uint8 (H, W).
Drawing: TypeAlias = tuple[NDArray[np.uint8], Labels]
