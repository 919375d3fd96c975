"""What is wrong with a request, said without repeating any of it."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from clarity.api.wire import RULE, Wire


class Fault(Wire):
    """One thing that is wrong with a request. The value that was sent is never repeated."""

    field: str
    """The path of the field, "names.0.family"; "body" is the whole of it."""
    rule: str
    """What the field must be."""


# Keyed by pydantic's names of errors. What is filled in comes from our own declarations, never from the request:
# the messages of pydantic itself quote what they complain of.
_RULES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "date_type": "must be a day such as 1985-04-12",
    "datetime_type": "must be an instant such as 1985-04-12T23:20:50Z",
    "enum": "must be one of {expected}",
    "extra_forbidden": "has an unknown field",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "json_invalid": "must be JSON in UTF-8",
    "less_than_equal": "must be at most {le}",
    "missing": "is required",
    "model_type": "must be an object",
    "string_pattern_mismatch": "has characters that are not allowed here",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_type": "must be a text",
    "too_long": "must have at most {max_length} entries",
    "tuple_type": "must be a list",
    "uuid_parsing": "must be a UUID",
    "uuid_type": "must be a UUID",
    RULE: "{rule}",
}
_MOST_FAULTS = 20
_SOURCES = {"body", "query", "header"}


def faults_in(errors: Iterable[Mapping[str, Any]]) -> tuple[Fault, ...]:
    """Return what pydantic found wrong, in our own words, at most 20 things.

    An unknown field is reported as a fault of the object it is in: its name is content as much as a value is.
    """
    found = dict.fromkeys(_place_and_rule(error) for error in errors)
    return tuple(Fault(field=field, rule=rule) for field, rule in islice(found, _MOST_FAULTS))


def _place_and_rule(error: Mapping[str, Any]) -> tuple[str, str]:
    kind, place = error["type"], tuple(error["loc"])
    if kind == "extra_forbidden":
        place = place[:-1]
    source = place[0] if place and place[0] in _SOURCES else "body"
    path = place[1:] if place[:1] == (source,) else place
    rule = _RULES.get(kind, "is not valid").format_map(error.get("ctx", {}))
    return ".".join(map(str, path)) or source, rule
