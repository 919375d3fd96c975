"""Files of one resource a line (NDJSON), as bulk exports write them: those of a folder belong together.

They are read line by line, and more than once: first everybody is met and practitioners are handed on, then the
patients follow, each a unit of its own, now that it is known who cares for them. Only ids and ties are kept in between.

Then come the charts, each a unit of its own too: what it holds may stand anywhere in the files, and goes in by order of
time. So they are read once more for as many charts as fit into memory, and again for the next ones.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clarity.application.imports import (
    BadInput,
    Incoming,
    IncomingPatient,
    IncomingPractitioner,
    IncomingRecord,
    InputLabel,
    LeftOut,
    Place,
)
from clarity.domain.errors import Invalid
from clarity.fhir.circle import CHARTED, Circle, Met, Reading, bad_input
from clarity.fhir.decoding import check_json
from clarity.fhir.files import DOCUMENT_LIMIT, LINE_LIMIT, read_lines

MAX_BAD_LINES = 1_000
"""How many bad lines a file may have before it is taken for something else, and not read any further."""

CHARTS_LIMIT = 64 * 1024 * 1024
"""How many bytes of lines are held at a time of the charts that are put together; of one chart, it may be all."""


@dataclass(slots=True)
class _File:
    """One file: what the first reading found in it, up to line `last`."""

    label: InputLabel
    path: Path = field(repr=False)
    unplaced: Counter[str] = field(default_factory=Counter)
    bad: set[int] = field(default_factory=set)
    patients: int = 0
    charted: int = 0
    last: int = 0

    def require_mostly_good(self) -> None:
        """Raise `Invalid` if this cannot be what it was taken for."""
        if len(self.bad) > MAX_BAD_LINES:
            raise Invalid("", f"has more than {MAX_BAD_LINES} bad lines; the rest was not read")


@dataclass(slots=True)
class _Chart:
    """What the first reading found of one chart: how many bytes, and where it begins."""

    place: Place
    size: int = 0


class Folder:
    """The files of one folder while they are read. `found` counts their units, as far as they are known by now."""

    def __init__(self, files: Sequence[tuple[InputLabel, Path]], reading: Reading) -> None:
        self._files = [_File(label, path) for label, path in files]
        self._circle = Circle(reading, is_large=True)
        self._charts: dict[str, _Chart] = {}
        self.found = len(files)

    def units(self) -> Iterator[Incoming | BadInput]:
        """Read the files: practitioners, their specialties, patients, ties of patients who are not here, charts."""
        for file in self._files:
            yield from self._meet_all(file)
        for specialty in self._circle.specialties.settle():
            self.found += 1
            yield Incoming(place=specialty.place, specialties=(specialty,))
        for bad in self._circle.ties.settle():
            self.found += 1
            yield bad
        for file in self._files:
            if file.patients:
                yield from self._patients_of(file)
        for ties in self._circle.ties.rest():
            self.found += 1
            yield ties if isinstance(ties, BadInput) else Incoming(place=ties.place, ties=(ties,))
        for some in self._groups():
            yield from self._units_of(some)

    def _meet_all(self, file: _File) -> Iterator[Incoming | BadInput]:
        try:
            for number, line in read_lines(file.path):
                file.last = number
                unit = self._meet(file, line)
                if unit is not None:
                    self.found += 1
                    yield unit
                file.require_mostly_good()
        except Invalid as exc:
            self.found += 1
            yield bad_input(Place(file.label), exc)
        yield Incoming(place=Place(file.label), unplaced=file.unplaced)

    def _meet(self, file: _File, line: bytes | None) -> Incoming | BadInput | None:
        """Remember one line; return the practitioner it holds, or what is wrong with it."""
        place, name = Place(file.label, file.last), ""
        try:
            name, checked = self._checked(line)
            met = self._circle.meet(name, checked, place)
        except Invalid as exc:
            file.bad.add(file.last)
            return replace(bad_input(place, exc), records={CHARTED[name]: 1} if name in CHARTED else {})
        if met.known.type == "Practitioner":
            return self._unit(met)
        if met.known.type == "Patient":
            file.patients += 1
            self.found += 1
        elif met.known.type in CHARTED:
            file.charted += 1
            subject = self._circle.subject_of(met.known.type, bytes(met.resource))
            self._charts.setdefault(subject, _Chart(place)).size += len(met.resource)
        else:
            file.unplaced[met.known.type] += 1
        return None

    def _checked(self, line: bytes | None) -> tuple[str, bytes]:
        """Return the type of the resource in a line, and the line."""
        if line is None:
            raise Invalid("", f"is longer than {LINE_LIMIT // 1024**2} MiB")
        check_json(line)
        name = self._circle.type_of(line)
        if name == "Bundle":
            raise Invalid("", "must not be a bundle; give each a file of its own")
        return name, line

    def _patients_of(self, file: _File) -> Iterator[Incoming | BadInput]:
        """Read the patients of a file whose lines were all met before."""
        for met in self._again(file):
            if met.known.type == "Patient":
                yield self._unit(met)

    def _again(self, file: _File) -> Iterator[Met]:
        """Read the lines of a file once more that were good when they were met."""
        try:
            for number, line in read_lines(file.path):
                if number > file.last:
                    return
                if line is not None and number not in file.bad:
                    met = self._circle.met_before(line, Place(file.label, number))
                    if met is not None:
                        yield met
        except Invalid:
            return  # where the file breaks off; the first reading said so

    def _groups(self) -> Iterator[dict[str, _Chart]]:
        """Yield the charts, by the sources of their patients, as many at a time as are put together."""
        charts: dict[str, _Chart] = {}
        while self._charts:
            subject, chart = self._charts.popitem()
            charts.setdefault(self._circle.chart_of(subject), _Chart(chart.place)).size += chart.size
        self.found += len(charts)
        some: dict[str, _Chart] = {}
        held = 0
        for source, chart in charts.items():
            if some and held + chart.size > CHARTS_LIMIT:
                yield some
                some, held = {}, 0
            some[source] = chart
            held += chart.size
        if some:
            yield some

    def _units_of(self, charts: dict[str, _Chart]) -> Iterator[Incoming | BadInput]:
        """Read the files for some charts, and put these together."""
        too_large = {source for source, chart in charts.items() if chart.size > DOCUMENT_LIMIT}
        found: defaultdict[str, list[Met]] = defaultdict(list)
        for file in self._files:
            if file.charted:
                for met in self._again(file):
                    if met.known.type in CHARTED:
                        subject = self._circle.subject_of(met.known.type, bytes(met.resource))
                        source = self._circle.chart_of(subject)
                        if source in charts and source not in too_large:
                            found[source].append(met)
        for source, chart in charts.items():
            if source in too_large:
                yield BadInput(chart.place, f"begins a chart of more than {DOCUMENT_LIMIT // 1024**2} MiB")
            else:
                yield from self._chart(found.pop(source, []), chart.place)

    def _chart(self, lines: list[Met], place: Place) -> Iterator[Incoming | BadInput]:
        """Yield the records of one chart together, and before them what is wrong with any of the lines."""
        records: list[IncomingRecord] = []
        left_out: Counter[LeftOut] = Counter()
        known = set()
        for met in lines:
            read = self._circle.record(met)
            if met.known in known:
                read = bad_input(met.place, Invalid("id", "was given before in this input").within(met.known.type))
            known.add(met.known)
            if isinstance(read, BadInput):
                self.found += 1
                yield replace(read, records={CHARTED[met.known.type]: 1})
            elif isinstance(read, LeftOut):
                left_out[read] += 1
            else:
                records.append(read)
        yield Incoming(place=place, records=tuple(records), left_out=left_out)

    def _unit(self, met: Met) -> Incoming | BadInput:
        read = self._circle.read(met)
        if isinstance(read, IncomingPractitioner):
            return Incoming(place=met.place, practitioners=(read,))
        if isinstance(read, IncomingPatient):
            return Incoming(place=met.place, patients=(read,))
        is_patient = met.known.type == "Patient"
        return replace(read, patients=int(is_patient), practitioners=int(not is_patient))
