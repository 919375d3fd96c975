"""Patients as they go out: written from the records themselves, in the form that `PatientOut` describes.

A `PatientOut` puts to its rules once more what the domain has put to its own. To make fifty of them, for nothing but to
write them out, took as long as to decipher the fifty records. Both ways give the same bytes (tests/api/test_wire.py).
"""

from datetime import date
from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from fastapi import Response
from pydantic import BaseModel

from clarity.api.patients.shapes import PatientOut
from clarity.application.pages import Page
from clarity.domain.dates import PartialDate
from clarity.domain.patients import Patient


class _Words(str):
    """A partial date as text. The encoder knows no such kind of it, and asks `str`."""

    __slots__ = ()


@cache
def _form_of(shape: type[BaseModel], computed: frozenset[str] = frozenset()) -> type[msgspec.Struct]:
    """Return a struct with the fields of a shape in their order, of which those in `computed` are set afterwards."""
    members: list[Any] = [
        (name, Any, None) if name in computed else (name, _written(field.annotation))
        for name, field in shape.model_fields.items()
    ]
    return msgspec.defstruct(f"Written{shape.__name__}", members, kw_only=True, gc=False)


def _written(hint: object) -> object:
    """Return how a field is written that a shape declares as `hint`."""
    if hint is PartialDate:
        return _Words
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return _form_of(hint)
    origin: Any = get_origin(hint)
    parts = get_args(hint)
    if origin is Annotated:
        return _written(parts[0])
    if origin in {Union, UnionType}:
        return reduce(or_, map(_written, parts))
    return origin[_written(parts[0]), ...] if origin is tuple else hint


def _in_words(_words: type, partial: PartialDate) -> _Words:
    return _Words(partial)


_PATIENT = _form_of(PatientOut, frozenset({"age", "care_team"}))
_encode = msgspec.json.Encoder(enc_hook=str).encode


def _form(patient: Patient, today: date) -> object:
    form: Any = msgspec.convert(patient, _PATIENT, from_attributes=True, dec_hook=_in_words)
    form.age = patient.age_on(today)
    form.care_team = sorted(patient.care_team)
    return form


def shown(patient: Patient, today: date, *, status_code: int = 200, location: str = "") -> Response:
    """Return the answer that is a `PatientOut`, and says in its headers which version it is, and where."""
    answer = _answer(_form(patient, today), status_code)
    if location:
        answer.headers["Location"] = location
    answer.headers["ETag"] = f'"{patient.version}"'
    return answer


def shown_page(page: Page[Patient], today: date) -> Response:
    """Return the answer that is a `PatientPageOut`."""
    return _answer(
        {
            "items": [_form(patient, today) for patient in page.items],
            "next_cursor": page.next_cursor or None,
            "total": {"count": page.count, "exact": page.exact},
        }
    )


def _answer(content: object, status_code: int = 200) -> Response:
    return Response(_encode(content), status_code, media_type="application/json")
