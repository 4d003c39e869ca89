"""Test images that also occur in the training set, as counted by the audit of each task."""

from __future__ import annotations

from collections.abc import Sequence

from naslora.data.audit.saved import read_audit
from naslora.report.figures.captions import test_set_title
from naslora.report.tables.model import Column
from naslora.study.layout import Layout
from naslora.study.settings import Study

LEAKAGE = "Leakage"


def leakage(study: Study, columns: Sequence[Column]) -> list[str]:
    """A sentence for each test set of a table that shares images with the training set.

    A task that has not been audited on this machine is left out.

    Raises:
        AuditError: the file of an audit is damaged.
    """
    lines = []
    for task, test_set in dict.fromkeys((column.task, column.test_set) for column in columns):
        path = Layout.of(study).audit(task)
        if not path.is_file():
            continue
        audit = read_audit(path)
        if count := audit.like_training_images.get(test_set, 0):
            title, images = test_set_title(task, test_set), audit.splits[test_set]
            lines.append(
                f"{title}: at least {count} of {images} test images are identical or nearly "
                "identical to a training image, so scores may be too high."
            )
    return lines
