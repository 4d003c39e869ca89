from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from naslora.report import figures


@dataclass
class Drawn:
    """A picture as it is before it is saved."""

    canvas: Figure
    caption: str
    data: pd.DataFrame

    @property
    def texts(self) -> list[Text]:
        """The texts that are seen: labels of ticks beyond the limits of their axis are not."""
        hidden = set()
        for axis in (axis for axes in self.canvas.axes for axis in (axes.xaxis, axes.yaxis)):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not axis.axes.axison or not low <= tick.get_loc() <= high:
                    hidden |= {tick.label1, tick.label2}
        texts = [text for text in self.canvas.findobj(Text) if text not in hidden]
        return [text for text in texts if text.get_visible() and text.get_text()]

    @property
    def words(self) -> str:
        return "\n".join(text.get_text() for text in self.texts)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Drawn]:
    """Pictures by name, kept instead of saved, which takes longest."""
    kept: dict[str, Drawn] = {}

    def keep(canvas: Figure, path: Path, caption: str, data: pd.DataFrame) -> None:
        canvas.draw_without_rendering()
        kept[path.stem] = Drawn(canvas, caption, data)

    for module in pkgutil.iter_modules(figures.__path__, f"{figures.__name__}."):
        loaded = importlib.import_module(module.name)
        if hasattr(loaded, "save_figure"):
            monkeypatch.setattr(loaded, "save_figure", keep)
    return kept
