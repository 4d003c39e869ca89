"""Whether a study's results are up to date, according to the results themselves.

Every result states what it was made from: a manifest its archives and split, a receipt the
fingerprint of its settings and the hash of its manifest, a record its receipt, tables and figures
the hashes of their records. A result is up to date if that matches the study's present settings.
File times are not used, so this also works for copies of results.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from naslora.analysis.document import PRETRAINED, RANDOM, read_analysis
from naslora.core.errors import ManifestError, RecordError
from naslora.core.files import sha256
from naslora.data.archives.catalogue import find
from naslora.data.archives.sources import choose
from naslora.data.manifest import Manifest, benchmark_sha256, read_manifest
from naslora.data.own.benchmark import OwnData, source_bytes
from naslora.evaluation.receipts import same_checkpoint
from naslora.results.reading import check_record
from naslora.results.sources import read_sources, sources_of
from naslora.study.layout import Layout
from naslora.study.records import CONTROLS, read_receipt, read_record
from naslora.study.settings import CONFIG_FOLDER, Study
from naslora.timing.document import read_timing, timing_fingerprint


class Freshness:
    """Which results of a study are up to date; every answer is computed once.

    Args:
        study: the study with its present settings.
        config: the folder of archives.yaml.
    """

    def __init__(self, study: Study, config: Path = CONFIG_FOLDER):
        self._study = study
        self._config = config
        self._layout = Layout.of(study)
        self.manifest = cache(self._manifest)
        self.run = cache(self._run)
        self.record = cache(self._record)
        self.analysis = cache(self._analysis)
        self._manifest_sha256 = cache(self._hash_of_manifest)
        self._made_from = cache(lambda: sources_of(study))

    def controls(self, task: str) -> bool:
        """Whether the records of all controls of a task are up to date."""
        return all(self.record(task, control, 0) for control in CONTROLS)

    def timing(self, path: Path) -> bool:
        """Whether a file of measurements was made with the study's settings."""
        try:
            return read_timing(path).fingerprint == timing_fingerprint(self._study)
        except RecordError:
            return False

    def product(self, folder: Path, name: str) -> bool:
        """Whether a table or figure was made from the study's present results.

        Args:
            folder: the folder of tables or of figures.
            name: the name of the table or figure.
        """
        made_from = read_sources(folder).get(name)
        wanted = self._made_from()
        return made_from is not None and all(wanted.get(k) == v for k, v in made_from.items())

    def _manifest(self, task: str) -> bool:
        """Whether a task is prepared from the present archives, with the split of the settings.

        An archive that is no longer here counts as unchanged.
        """
        try:
            manifest = read_manifest(self._layout.manifest(task))
        except ManifestError:
            return False
        if manifest.split_seed != self._study.data.split_seed:
            return False
        asked = self._study.generated.get(task)
        if manifest.generated_images != asked:
            return False
        if manifest.benchmark_sha256 != benchmark_sha256(self._study, task):
            return False
        return asked is not None or self._same_archives(manifest)

    def _same_archives(self, manifest: Manifest) -> bool:
        recorded = {archive.file: archive.bytes for archive in manifest.archives}
        choice = choose(self._study, manifest.task, self._config, recorded)
        if isinstance(choice.benchmark, OwnData):
            own = choice.benchmark.description
            return not own.data.exists() or recorded.get(own.data.name) == source_bytes(own)
        if len(choice.archives) != len(recorded):
            return False
        for archive in choice.archives:
            known = [recorded[name] for name in archive.names if name in recorded]
            here = find(archive, self._study.archives)
            if not known or (here is not None and here.stat().st_size != known[0]):
                return False
        return True

    def _run(self, task: str, variant: str, seed: int) -> bool:
        """Whether a run is trained."""
        path = self._layout.receipt(task, variant, seed)
        try:
            receipt = read_receipt(path)
        except RecordError:
            return False
        adapter = self._layout.adapter(task, variant, seed)
        return (
            receipt.fingerprint == self._study.run(task, variant, seed).fingerprint()
            and self._same_images(task, receipt.manifest_sha256)
            and same_checkpoint(self._study, receipt, path)
            and (receipt.adapter is None or adapter.is_file())
        )

    def _record(self, task: str, variant: str, seed: int) -> bool:
        """Whether a run or a control is evaluated.

        For a record without its run, as in a copy, the receipt in the record is checked.
        """
        path = self._layout.record(task, variant, seed)
        images = self._manifest_sha256(task)
        try:
            record = read_record(path)
            check_record(record, path, self._study, {task: images} if images else {})
            if not self._same_images(task, record.manifest_sha256):
                return False
            if not self._layout.receipt(task, variant, seed).is_file():
                return True
            trained = read_receipt(self._layout.receipt(task, variant, seed))
        except RecordError:
            return False
        return record.training == trained and self.run(task, variant, seed)

    def _analysis(self, task: str, model: str, seed: int) -> bool:
        """Whether a model is analysed, with the present weights."""
        try:
            analysis = read_analysis(self._study, task, model, seed)
        except RecordError:
            return False
        if not self._same_images(task, analysis.manifest_sha256):
            return False
        receipt = self._layout.receipt(task, model, seed)
        if model in (RANDOM, PRETRAINED) or not receipt.is_file():
            return True
        if not self.run(task, model, seed):
            return False
        adapter = read_receipt(receipt).adapter
        return analysis.adapter_sha256 == (adapter.sha256 if adapter else None)

    def backbone(self) -> bool:
        """Whether the backbone that the study pretrains exists and was made with its settings."""
        study, path = self._study, self._layout.backbone()
        about = path.with_suffix(".json")
        if not path.is_file():
            return False
        try:
            made = json.loads(about.read_bytes())
            made_with = (made["settings"], made["backbone"], made["image_size"])
        except (OSError, ValueError, KeyError, TypeError):
            return not about.exists()
        wanted = (study.pretraining.recorded(), study.sam.backbone, study.sam.image_size)
        return made_with == wanted

    def _same_images(self, task: str, manifest_sha256: str) -> bool:
        """Whether a manifest's hash is that of the present manifest, and that is up to date.

        Without a manifest, as in a copy of only the records, the images count as the same.
        """
        here = self._manifest_sha256(task)
        return here is None or (here == manifest_sha256 and self.manifest(task))

    def _hash_of_manifest(self, task: str) -> str | None:
        path = self._layout.manifest(task)
        return sha256(path) if path.is_file() else None
