"""Synthetic records, as the tests of the report have them."""

from __future__ import annotations

import runpy
from pathlib import Path

_kit = runpy.run_path(str(Path(__file__).parents[1] / "report" / "conftest.py"))
study, full_study, every_task = (_kit[name] for name in ("study", "full_study", "every_task"))
_write_run, _make_study = _kit["_write_run"], _kit["_make_study"]
