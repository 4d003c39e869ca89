"""The documentation's site builds, and works without a network, opened from files."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer.main

from naslora.cli import app
from naslora.methods.registry import METHODS, get_method
from naslora.study.settings import Variant, load_study

ROOT = Path(__file__).parents[1]
# One process builds the site and runs all of its tests.
pytestmark = pytest.mark.xdist_group("site")
_SECONDS = 60
SECTIONS = {"sam", "pretraining", "data", "training", "evaluation", "analysis", "timing"} | {
    "training.architecture"
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, which was built without a warning."""
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)],  # quiet hides all
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stdout + done.stderr
    return folder


def test_parts_that_are_written_when_it_is_built(site: Path) -> None:
    audit = (site / "paper_audit.html").read_text(encoding="utf-8")
    assert "Training costs 24.14" in audit
    reference = (site / "reference.html").read_text(encoding="utf-8")
    assert 'id="naslora.predict"' in reference
    method = (site / "how-to" / "new_method.html").read_text(encoding="utf-8")
    assert "ScaledLinear" in method


def _cells(page: Path) -> dict[str, list[str]]:
    """The rows of a page's tables, without tags, by their first cells."""
    rows = re.findall(r"<tr>(.*?)</tr>", page.read_text(encoding="utf-8"), re.DOTALL)
    found = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]
    return {
        cells[0]: cells[1:]
        for cells in ([html.unescape(re.sub(r"<[^>]+>", "", one)) for one in row] for row in found)
    }


def _keys(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and f"{prefix}{name}" in SECTIONS:
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_setting_is_on_its_page(site: Path) -> None:
    cells = _cells(site / "settings.html")
    # Files of methods and tasks are listed with the others, under `methods` and `tasks`.
    study = load_study("paper", {}, ROOT / "config").model_dump(
        exclude={"method_files", "task_files"}
    )
    keys = [*_keys(study), *(f"variants.NAME.{name}" for name in Variant.model_fields)]
    assert len(keys) > 70
    for key in keys:
        kind, _default, meaning = cells[key]
        assert kind, key
        assert meaning, f"{key}: say what it does, in defaults.yaml or in its class"
    assert cells["training.epochs"] == ["whole number ≥ 1", "40", "T, the number of epochs"]
    text = (site / "settings.html").read_text(encoding="utf-8")
    # Without methods that other tests of this process have registered.
    every = {name: get_method(name).settings for name in METHODS.names()}
    ours = [name for name, settings in every.items() if settings.__module__.startswith("naslora.")]
    assert len(ours) > 12
    for name in ours:
        assert f'<h3 id="{name}">' in text, name
        assert set(get_method(name).settings.model_fields) <= set(cells), name


def test_every_command_is_on_its_page(site: Path) -> None:
    text = (site / "commands.html").read_text(encoding="utf-8")
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        section = re.search(rf'<h3 id="naslora-{name}">(.*?)(?=<h[23] |$)', text, re.DOTALL)
        assert section, name
        plain = html.unescape(re.sub(r"<[^>]+>", "", section[1]))
        assert command.help.splitlines()[0] in " ".join(plain.split()), name
        for parameter in command.params:
            for option in parameter.opts if parameter.opts[0].startswith("-") else []:
                assert option in plain, f"{name} {option}"
            assert (parameter.help or "").rstrip(".") in plain, f"{name} {parameter.name}"


def test_no_page_shows_markup(site: Path) -> None:
    """Neither the backslash that GitHub needs before a pipe, nor items outside of their list."""
    for page in sorted(site.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        assert "\\|" not in text, page
        prose = re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL)
        for found in re.findall(r"<(?:p|li)>(.*?)</(?:p|li)>", prose, re.DOTALL):
            plain = html.unescape(re.sub(r"<[^>]+>", "", found))
            assert not re.search(r"^ *(?:\d+\.|[-*+]) ", plain, re.MULTILINE), f"{page}: {plain}"


class _Loaded(HTMLParser):
    """Addresses of everything that a page loads, without those of links."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            loads = name in ("src", "srcset", "poster", "data") or (tag, name) == ("link", "href")
            if loads and value:
                self.addresses.append(value)


def test_no_page_loads_anything_from_the_network(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    remote = re.compile(r"(?:https?:)?//")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        parser = _Loaded()
        parser.feed(text)
        assert any(address.endswith(".js") for address in parser.addresses), page
        assert not [address for address in parser.addresses if remote.match(address)], page
    for path in [*pages, *site.rglob("*.css")]:
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"(?:url\(\s*|@import\s+)[\"']?(?:https?:)?//[^)]*", text), path


def test_the_search_index_is_there_for_pages_opened_as_files(site: Path) -> None:
    script = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert script.startswith("var __index = ")
    found = {entry["location"] for entry in json.loads(script.partition(" = ")[2])["docs"]}
    assert {"metrics.html", "how-to/cluster.html"} <= found
    home = (site / "index.html").read_text(encoding="utf-8")
    worker = home.index('<script src="javascripts/iframe-worker.js">')
    assert worker < home.index('<script src="assets/javascripts/bundle.')


def test_search_in_a_page_opened_as_a_file(site: Path, browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get((site / "how-to" / "cluster.html").as_uri())
    field = browser.find_element(By.CSS_SELECTOR, "input.md-search__input")
    browser.execute_script(
        "arguments[0].focus(); arguments[0].value = 'Margolin';"
        "arguments[0].dispatchEvent(new Event('keyup'));",
        field,
    )

    def results(driver: Any) -> list[str]:
        links = driver.find_elements(By.CSS_SELECTOR, "a.md-search-result__link")
        return [link.get_property("href").partition("?")[0] for link in links]

    found = WebDriverWait(browser, _SECONDS).until(results)
    assert any(address.startswith((site / "metrics.html").as_uri()) for address in found)
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
