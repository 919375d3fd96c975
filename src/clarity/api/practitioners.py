"""The routes on practitioners, and their shapes."""

from typing import Annotated, Self

from fastapi import Query
from pydantic import ConfigDict

from clarity.api.dependencies import CurrentActor, Practitioners
from clarity.api.people import AddressInOut, NameInOut, TelecomInOut
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Limit, PageOut, Wire, page_of
from clarity.domain.errors import Forbidden
from clarity.domain.ids import PractitionerId
from clarity.domain.people import Gender
from clarity.domain.practitioners import Practitioner

router = router_of("practitioners")


class PractitionerOut(Wire):
    """Somebody who cares for patients, whether or not they have an account here."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019a9d5c-41aa-7d02-8f7c-5e2b9c6d1a08",
                    "version": 1,
                    "name": {"prefix": ["Dr."], "given": ["Anna"], "family": "Okafor"},
                    "npi": "1234567893",
                    "npi_valid": True,
                    "gender": "female",
                    "telecoms": [],
                    "addresses": [],
                    "active": True,
                }
            ]
        }
    )

    id: PractitionerId
    version: int
    name: NameInOut
    npi: str
    """The National Provider Identifier as it was recorded."""
    npi_valid: bool
    """Whether its check digit holds."""
    gender: Gender
    telecoms: tuple[TelecomInOut, ...]
    addresses: tuple[AddressInOut, ...]
    active: bool

    @classmethod
    def of(cls, practitioner: Practitioner) -> Self:
        """Return the shape of `practitioner`."""
        return cls.model_validate(practitioner)


class PractitionerPageOut(PageOut[PractitionerOut]):
    """Some of the practitioners."""


class PractitionerListQuery(Wire):
    """Where a page of practitioners begins."""

    model_config = ConfigDict(strict=False, extra="forbid")

    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50


@router.get("", responses=documented(Forbidden()))
async def list_practitioners(
    query: Annotated[PractitionerListQuery, Query()], actor: CurrentActor, practitioners: Practitioners
) -> PractitionerPageOut:
    """List who could be in a care team, in the order they came."""
    page = await practitioners.list(actor, cursor=query.cursor, at_most=query.limit)
    return PractitionerPageOut(**page_of(page, tuple(map(PractitionerOut.of, page.items))))
