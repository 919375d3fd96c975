"""What one import reads: files and folders, bundles and lines, good and bad."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

from clarity.application.imports import BadInput, Incoming, InputLabel, Place
from clarity.application.ports import NewId
from clarity.domain.errors import Invalid
from clarity.domain.values import require_text
from clarity.fhir.bundles import read_bundle
from clarity.fhir.circle import Reading, bad_input
from clarity.fhir.files import Form, form_of, label_of, list_files, read_document
from clarity.fhir.folders import Folder
from clarity.fhir.strict import allow_all, strict_check


class FhirInputs:
    """`Inputs` from files of FHIR R4: bundles and single resources (JSON), and bulk exports (NDJSON), plain or gzip.

    `system` names where they come from: an id of a source means the same resource only within one. They are read on
    the day `today`: what they say is over was over by then. With `strict`, every resource is validated as a whole.
    Raises `Misconfigured` if that is not possible.
    """

    def __init__(self, paths: Iterable[Path], *, system: str, new_id: NewId, today: date, strict: bool = False) -> None:
        require_text("source", system, at_most=100)
        if "|" in system:
            raise Invalid("source", "must not contain a vertical bar")
        self._files = list_files(paths)
        self._reading = Reading(system, new_id, strict_check() if strict else allow_all, today)
        self._documents = len(self._files)
        self._folders: list[Folder] = []

    @property
    def expected(self) -> int:
        """How many units there are, as far as that is known by now."""
        return self._documents + sum(folder.found for folder in self._folders)

    def units(self) -> Iterator[Incoming | BadInput]:
        """Read the documents, one unit each, then the files of lines, folder by folder."""
        folders: defaultdict[Path, list[tuple[InputLabel, Path]]] = defaultdict(list)
        for position, path in enumerate(self._files, start=1):
            label = label_of(position, path)
            try:
                form = form_of(path)
            except Invalid:
                form = Form.DOCUMENT  # which cannot be read, and says so
            if form is Form.LINES:
                folders[path.parent].append((label, path))
            else:
                yield self._document(label, path)
        for files in folders.values():
            folder = Folder(files, self._reading)
            self._folders.append(folder)
            self._documents -= len(files)
            yield from folder.units()

    def _document(self, label: InputLabel, path: Path) -> Incoming | BadInput:
        try:
            document = read_document(path)
        except Invalid as exc:
            return bad_input(Place(label), exc)
        unit = read_bundle(document, label, self._reading)
        return unit if isinstance(unit, BadInput) else replace(unit, again=partial(self._document, label, path))
