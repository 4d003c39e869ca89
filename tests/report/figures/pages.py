"""What every figure must be as a page of a paper: its width, the size of its text, its caption."""

from __future__ import annotations

from itertools import combinations

from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text

from naslora.report.figures.style import SMALL, WIDTH
from tests.report.figures.conftest import Drawn


def check_page(name: str, picture: Drawn) -> None:
    """A page's width; whole texts of 6 points or more, none on another; a caption and numbers."""
    assert picture.canvas.get_figwidth() == WIDTH, name
    assert picture.canvas.get_figheight() <= 9, name
    page = picture.canvas.bbox.padded(1)
    for text in picture.texts:
        assert smallest_size(text) >= SMALL - 1e-6, (name, text.get_text())
        extent = Text.get_window_extent(text)  # without an annotation's line
        assert page.x0 <= extent.x0 <= extent.x1 <= page.x1, (name, text.get_text())
        assert page.y0 <= extent.y0 <= extent.y1 <= page.y1, (name, text.get_text())
    check_texts_are_apart(name, picture)
    assert picture.caption.endswith("."), name
    assert "  " not in picture.caption, name
    assert "1 runs" not in picture.caption, name
    assert len(picture.data) > 0, name


def smallest_size(text: Text) -> float:
    """The size of a text's smallest letters in points; those of subscripts are smaller."""
    if "$" not in text.get_text():
        return float(text.get_fontsize())
    parsed = MathTextParser("path").parse(text.get_text(), 72, text.get_fontproperties())
    return min(size for _, size, *_ in parsed.glyphs)


def check_texts_are_apart(name: str, picture: Drawn) -> None:
    """No text lies on another; the numbers of classes, which have a rim, lie on pictures."""
    texts = [text for text in picture.texts if not text.get_path_effects()]
    places = [(text.get_text(), Text.get_window_extent(text).padded(-2)) for text in texts]
    for (one, mine), (other, its) in combinations(places, 2):
        assert not mine.overlaps(its), (name, one, other)
