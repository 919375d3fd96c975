"""Bundles, and resources that come alone: what one document holds is imported together or not at all."""

from collections import Counter
from dataclasses import replace

from msgspec import Raw

from clarity.application.imports import (
    BadInput,
    Incoming,
    IncomingPatient,
    IncomingPractitioner,
    IncomingRecord,
    IncomingTies,
    InputLabel,
    LeftOut,
    Place,
)
from clarity.domain.errors import Invalid
from clarity.domain.values import within
from clarity.fhir import resources
from clarity.fhir.circle import CHARTED, PLACED, Circle, Met, Reading, bad_input
from clarity.fhir.decoding import check_json, decode
from clarity.fhir.resources import BundleType

_IMPORTED = {
    BundleType.TRANSACTION,
    BundleType.BATCH,
    BundleType.COLLECTION,
    BundleType.SEARCHSET,
    BundleType.DOCUMENT,
}


def read_bundle(document: bytes, label: InputLabel, reading: Reading) -> Incoming | BadInput:
    """Return what a document holds, or the first thing that is wrong with it."""
    whole = Place(label)
    try:
        check_json(document)
        entries = _entries_of(document)
    except Invalid as exc:
        return bad_input(whole, exc)
    return _Bundle(label, Circle(reading)).read(entries)


class _Bundle:
    """One bundle while it is read: first who is in it, then what is said of them."""

    def __init__(self, label: InputLabel, circle: Circle) -> None:
        self._label = label
        self._circle = circle
        self._types: Counter[str] = Counter()
        self._met: list[Met] = []

    def read(self, entries: tuple[resources.Entry, ...]) -> Incoming | BadInput:
        """Return the whole of it, or the first thing that is wrong."""
        bad = self._meet_all(entries) or next(self._circle.ties.settle(), None)
        outcome = bad if bad is not None else self._map()
        if isinstance(outcome, BadInput):
            return replace(
                outcome,
                patients=self._types["Patient"],
                practitioners=self._types["Practitioner"],
                records={kind: self._types[name] for name, kind in CHARTED.items() if self._types[name]},
            )
        return outcome

    def _meet_all(self, entries: tuple[resources.Entry, ...]) -> BadInput | None:
        first: BadInput | None = None
        for number, entry in enumerate(entries, start=1):
            place = Place(self._label, number)
            try:
                name = self._circle.type_of(entry.resource)
                self._types[name] += 1
                if first is None:
                    met = self._circle.meet(name, entry.resource, place, entry.full_url)
                    if name in PLACED:
                        self._met.append(met)
            except Invalid as exc:
                first = first or bad_input(place, exc)
        return first

    def _map(self) -> Incoming | BadInput:
        people = [self._circle.read(one) for one in self._met if one.known.type not in CHARTED]
        charts = [self._circle.record(one) for one in self._met if one.known.type in CHARTED]
        everything = [*people, *charts, *self._circle.ties.rest()]
        for one in everything:
            if isinstance(one, BadInput):
                return one
        return Incoming(
            place=Place(self._label),
            practitioners=tuple(one for one in everything if isinstance(one, IncomingPractitioner)),
            patients=tuple(one for one in everything if isinstance(one, IncomingPatient)),
            ties=tuple(one for one in everything if isinstance(one, IncomingTies)),
            specialties=tuple(self._circle.specialties.settle()),
            records=tuple(one for one in everything if isinstance(one, IncomingRecord)),
            unplaced={name: count for name, count in sorted(self._types.items()) if name not in PLACED},
            left_out=Counter(one for one in everything if isinstance(one, LeftOut)),
        )


def _entries_of(document: bytes) -> tuple[resources.Entry, ...]:
    if decode(document, resources.Head).resource_type != "Bundle":
        return (resources.Entry(resource=Raw(document)),)
    with within("Bundle"):
        bundle = decode(document, resources.Bundle)
        if bundle.type not in _IMPORTED:
            raise Invalid("type", "must be transaction, batch, collection, searchset or document")
    return bundle.entry
