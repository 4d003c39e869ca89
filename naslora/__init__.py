"""naslora: a rerunnable benchmark of parameter-efficient adaptation of SAM, NAS-LoRA included.

`naslora.fit` adapts a SAM to images of your own, `naslora.load` loads the run, and
`naslora.predict` predicts a mask. `naslora.adapt` adds a method to a SAM from this package, Meta or
HF transformers, or to a vision transformer from timm.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from naslora.methods.third_party import adapt_model as adapt
    from naslora.own.api import fit, load, predict

__all__ = ["__version__", "adapt", "fit", "load", "predict"]
__version__ = "0.1.0"

# Imported when they are used, since torch takes seconds to import.
_PUBLIC = {
    "adapt": ("naslora.methods.third_party", "adapt_model"),
    "fit": ("naslora.own.api", "fit"),
    "load": ("naslora.own.api", "load"),
    "predict": ("naslora.own.api", "predict"),
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'naslora' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
