"""How JSON comes in and goes out: the base of every shape, and the few types JSON has no word for."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from clarity.application.pages import MAX_PAGE, Page
from clarity.domain.dates import PartialDate
from clarity.domain.errors import Invalid
from clarity.domain.values import within

RULE = "rule"
"""The type of an error whose context holds the broken rule in our own words."""


class Wire(BaseModel):
    """A JSON object. Nothing in it is coerced, and its content stays out of `repr` and of error messages."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        from_attributes=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Leave `repr` with the name of the type."""
        return iter(())


class Received(Wire):
    """A JSON object that clients send: a field nobody knows is an error, not something to overlook."""

    model_config = ConfigDict(extra="forbid")

    def content(self) -> dict[str, Any]:
        """Return the fields as the domain has them. Raises `Invalid` naming the first that breaks a rule."""
        found = {}
        for name in type(self).model_fields:
            with within(name):
                found[name] = _meant(getattr(self, name))
        return found


class Value(Received):
    """A JSON object that stands for one value of the domain, `means`, whose fields have the same names."""

    means: ClassVar[type[object]]


def _meant(value: object) -> object:
    if isinstance(value, Value):
        return value.means(**value.content())
    if isinstance(value, tuple):
        return tuple(_meant_at(position, item) for position, item in enumerate(value))
    return value


def _meant_at(position: int, item: object) -> object:
    with within(str(position)):
        return _meant(item)


@contextmanager
def renamed(**fields: str) -> Iterator[None]:
    """Let an `Invalid` raised inside name its field as the request does, where that differs from the domain."""
    try:
        yield
    except Invalid as exc:
        raise Invalid(fields.get(exc.field, exc.field), exc.rule) from None


class FromJson:
    """Reads a shape straight from the bytes of a request: pydantic is strict about JSON only where it parses it.

    Of a name that occurs twice in one object the last counts. The parser bounds nesting and refuses lone surrogates.
    """

    def __get_pydantic_core_schema__(self, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Parse before `source` validates."""
        return core_schema.no_info_before_validator_function(source.model_validate_json, handler(source))


Shape = TypeVar("Shape", bound=BaseModel)
Json = Annotated[Shape, FromJson()]
"""The body of a request."""


def fault(rule: str) -> PydanticCustomError:
    """Return the error that says which rule a field breaks, for a validator to raise."""
    return PydanticCustomError(RULE, "{rule}", {"rule": rule})


def _partial_date(value: object) -> PartialDate:
    if isinstance(value, PartialDate):
        return value
    if not isinstance(value, str):
        raise fault("must be a text")
    try:
        return PartialDate.parse(value)
    except Invalid as exc:
        raise fault(exc.rule) from None


# Pydantic would take "1577836800" for seconds since 1970.
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})", re.ASCII)


def _day(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value if _DAY.fullmatch(value) else "")
    except ValueError:
        raise fault("must be a day such as 1985-04-12") from None


def _instant(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value if _INSTANT.fullmatch(value) else "")
    except ValueError:
        raise fault("must be an instant such as 1985-04-12T23:20:50Z") from None


PartialDateText = Annotated[
    PartialDate,
    PlainValidator(_partial_date),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\d{4}(-\d{2}(-\d{2})?)?$",
            "examples": ["1985", "1985-04", "1985-04-12"],
        }
    ),
]
"""A date as exact as it is known, as FHIR writes it."""

Day = Annotated[date, BeforeValidator(_day)]
"""A calendar day."""

Instant = Annotated[datetime, BeforeValidator(_instant)]
"""An instant with its offset from UTC (RFC 3339)."""

Limit = Annotated[int, Field(ge=1, le=MAX_PAGE)]
"""How much of a list is asked for."""

Item = TypeVar("Item")


class TotalOut(Wire):
    """How many there are in all that the caller may see."""

    count: int
    exact: bool
    """Whether `count` is exact; otherwise there are more. Of patients, totals are exact up to 1,000."""


class PageOut(Wire, Generic[Item]):
    """Some of a list."""

    items: tuple[Item, ...]
    next_cursor: str | None
    """Where the next page begins; null behind the last. It is good for the same caller and the same query alone."""
    total: TotalOut


def page_of(page: Page[Any], items: tuple[Item, ...]) -> dict[str, Any]:
    """Return the fields of a `PageOut` for `page` with `items` in the place of its own."""
    total = TotalOut(count=page.count, exact=page.exact)
    return {"items": items, "next_cursor": page.next_cursor or None, "total": total}
