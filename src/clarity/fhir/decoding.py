"""JSON that somebody else wrote, read with suspicion. No error quotes what stood there."""

import json
import re
from functools import cache
from typing import Any, Never, TypeVar

import msgspec

from clarity.domain.errors import Invalid
from clarity.fhir.resources import Element

Shape = TypeVar("Shape", bound=Element)

_AT = re.compile(r"^(?P<problem>.*) - at `\$(?P<path>(?:\.\w+|\[\d+\])+)`$", re.ASCII | re.DOTALL)
_STEP = re.compile(r"\w+", re.ASCII)
_MISSING = re.compile(r"Object missing required field `(\w+)`", re.ASCII)
_EXPECTED = re.compile(r"Expected `(\w+)", re.ASCII)
_KINDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number within its bounds",
    "object": "an object",
    "str": "a string",
}


def check_json(document: bytes) -> None:
    """Raise `Invalid` unless `document` is one JSON text that says the same to every reader.

    That excludes invalid UTF-8, NaN, and names that occur twice in an object (RFC 8259, 4 and 8.1), of which
    one reader takes the first and another the last.
    """
    try:
        json.loads(
            document.decode("utf-8"),
            object_pairs_hook=_refuse_twins,
            parse_int=_ignore,
            parse_float=_ignore,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError:
        raise Invalid("", "is not UTF-8") from None
    except json.JSONDecodeError as exc:
        raise Invalid("", f"breaks off or is not JSON, at character {exc.pos}") from None
    except RecursionError:
        raise Invalid("", "is nested too deeply") from None


def decode(document: bytes | msgspec.Raw, shape: type[Shape]) -> Shape:
    """Return the parts of `document` that `shape` names, or raise `Invalid` naming the first that is wrong."""
    try:
        decoded: Shape = _decoder(shape).decode(document)
    except msgspec.ValidationError as exc:
        raise _without_values(str(exc)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Invalid("", "has text that is not Unicode") from None
    except RecursionError:
        raise Invalid("", "is nested too deeply") from None
    return decoded


@cache
def _decoder(shape: type[Element]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape)


def _without_values(message: str) -> Invalid:
    """Return what a decoder's message says of the place and the rule, and nothing of the value.

    Messages quote codes that are not allowed, so nothing is taken over but names of our own types.
    """
    at = _AT.match(message)
    problem = at["problem"] if at else message
    steps = _STEP.findall(at["path"]) if at else []
    rule = "is not valid"
    if missing := _MISSING.match(problem):
        steps.append(missing[1])
        rule = "is missing"
    elif expected := _EXPECTED.match(problem):
        rule = f"must be {_KINDS.get(expected[1], 'of another type')}"
    elif problem.startswith("Invalid enum value"):
        rule = "must be one of the codes that FHIR defines for it"
    return Invalid(".".join(steps), rule)


def _refuse_twins(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise Invalid("", "has an object with the same name twice")


def _refuse_constant(_: str) -> Never:
    raise Invalid("", "has a number that JSON does not know")


def _ignore(_: str) -> None:
    """Numbers are checked for their form only: converting one of a million digits would take minutes."""
