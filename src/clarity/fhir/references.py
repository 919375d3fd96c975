"""References between resources, and the directory of the resources they may lead to."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from clarity.domain.errors import Invalid
from clarity.domain.values import Confidential
from clarity.fhir.resources import Identifier

# FHIR R4 allows letters, digits, "-" and "." up to 64 characters (2.24.0.1, id); some servers write more.
_ID = r"[A-Za-z0-9._-]{1,128}"
_WHOLE_ID = re.compile(_ID, re.ASCII)
_URN = re.compile(r"urn:(?:uuid|oid):[A-Za-z0-9.-]{1,128}", re.ASCII)
_LITERAL = re.compile(rf"(?:https?://\S+/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>{_ID})(?:/_history/{_ID})?", re.ASCII)
_CONDITIONAL = re.compile(r"(?:https?://[^\s?]+/)?(?P<type>[A-Z][A-Za-z]+)\?(?P<query>\S+)", re.ASCII)
_VERSION = re.compile(r"/_history/[^/]*$")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Reference(Confidential):
    """Where a reference leads: to a URL, to a type and id, or to the one resource of a type with an identifier.

    The system of an identifier is `None` if any will do.
    """

    url: str = ""
    type: str = ""
    id: str = ""
    system: str | None = None
    value: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Known(Confidential):
    """A resource at hand: its type, and its id or, if it has none, the URN it goes by."""

    type: str
    id: str

    def source(self, system: str) -> str:
        """Return the name of this resource among those of all systems."""
        return f"{system}|{self.type}/{self.id}"


def parse_reference(text: str) -> Reference | None:
    """Return where `text` leads, or `None` for a contained resource. Raises `Invalid` for other kinds of reference."""
    if text.startswith("#"):
        return None
    if _URN.fullmatch(text):
        return Reference(url=text)
    if literal := _LITERAL.fullmatch(text):
        return Reference(url=_VERSION.sub("", text), type=literal["type"], id=literal["id"])
    if conditional := _CONDITIONAL.fullmatch(text):
        asked = parse_qsl(conditional["query"], keep_blank_values=True)
        if len(asked) == 1 and asked[0][0] == "identifier" and asked[0][1]:
            system, bar, value = asked[0][1].rpartition("|")
            return Reference(type=conditional["type"], system=system if bar else None, value=value)
    raise Invalid("", "is not a reference an import can follow")


def identity_of(resource_type: str, resource_id: str, full_url: str = "") -> Known:
    """Return what a resource goes by: its id, or else the URN of its entry. Raises `Invalid` if it has neither."""
    if resource_id:
        if not _WHOLE_ID.fullmatch(resource_id):
            raise Invalid("id", "must be letters, digits, hyphens and full stops")
        return Known(resource_type, resource_id)
    if _URN.fullmatch(full_url):
        return Known(resource_type, full_url)
    raise Invalid("id", "is missing")


class Directory:
    """The resources of a bundle, or of the files that belong together, by everything a reference may say."""

    def __init__(self) -> None:
        self._by_url: dict[str, Known] = {}
        self._by_name: dict[tuple[str, str], Known] = {}
        self._by_value: defaultdict[tuple[str, str], list[tuple[str, Known]]] = defaultdict(list)

    def add_url(self, full_url: str, known: Known) -> None:
        """Let a resource be found by the `fullUrl` of its entry."""
        if full_url:
            if full_url in self._by_url:
                raise Invalid("fullUrl", "was given before in this input")
            self._by_url[full_url] = known

    def add(self, known: Known, identifiers: Iterable[Identifier] = ()) -> None:
        """Let a resource be found by its type and id, and by its identifiers."""
        name = (known.type, known.id)
        if name in self._by_name:
            raise Invalid("id", "was given before in this input")
        self._by_name[name] = known
        for identifier in identifiers:
            self._by_value[known.type, identifier.value].append((identifier.system, known))

    def find(self, reference: Reference) -> Known | None:
        """Return the resource a reference leads to, if it is here. Raises `Invalid` if it leads to several."""
        if known := self._by_url.get(reference.url) or self._by_name.get((reference.type, reference.id)):
            return known
        named = self._by_value.get((reference.type, reference.value), ()) if reference.value else ()
        matches = {known for system, known in named if reference.system in {None, system}}
        if len(matches) > 1:
            raise Invalid("", "refers to more than one resource")
        return next(iter(matches), None)
