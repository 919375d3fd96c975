"""The routes of research, and their shapes."""

from typing import Annotated, Self

from fastapi import Query
from pydantic import ConfigDict

from clarity.api.dependencies import CurrentActor, Research
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Limit, PageOut, Wire, page_of
from clarity.domain.deidentification import ResearchSubject
from clarity.domain.errors import Forbidden
from clarity.domain.people import BirthSex, Gender

router = router_of("research")


class ResearchSubjectOut(Wire):
    """A patient, de-identified (45 CFR 164.514(b)(2)): codes of closed lists, numbers, and no text."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "pseudonym": "7b0e5f3c1d9a4c62b8f0a1d3e5c79b24",
                    "age": 40,
                    "gender": "female",
                    "birth_sex": "F",
                    "marital_status": "married",
                    "languages": ["en"],
                    "race": ["white"],
                    "ethnicity": ["not-hispanic-or-latino"],
                    "state": "MA",
                    "zip3": "021",
                    "deceased": True,
                    "birth_year": 1984,
                    "discharge_year": 2023,
                    "death_year": 2025,
                    "days_from_discharge_to_death": 512,
                }
            ]
        }
    )

    pseudonym: str
    """Always the same for this patient, and not to be traced back without the keys of the practice."""
    age: int
    """In years completed by 1 January, or at death; 90 stands for 90 and more, and then no year is told."""
    gender: Gender
    birth_sex: BirthSex | None
    marital_status: str
    """In words of HL7 v3 MaritalStatus; "" if it is not known by its code."""
    languages: tuple[str, ...]
    """Codes of languages that many speak (BCP 47), `other` for all others."""
    race: tuple[str, ...]
    """Categories of OMB."""
    ethnicity: tuple[str, ...]
    """Categories of OMB."""
    state: str
    """The code of the state of the United States (USPS); "" elsewhere."""
    zip3: str
    """The first three digits of the ZIP code; 000 where so few people share them that they would tell too much."""
    deceased: bool
    birth_year: int | None
    """The years are those of dates that were all moved back by the same secret number of days, 365 at most."""
    discharge_year: int | None
    death_year: int | None
    days_from_discharge_to_death: int | None

    @classmethod
    def of(cls, subject: ResearchSubject) -> Self:
        """Return the shape of `subject`."""
        return cls.model_validate(subject)


class ResearchSubjectPageOut(PageOut[ResearchSubjectOut]):
    """Some of the research subjects."""


class ResearchSubjectListQuery(Wire):
    """Where a page of research subjects begins."""

    model_config = ConfigDict(strict=False, extra="forbid")

    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50


@router.get("/subjects", responses=documented(Forbidden()))
async def list_research_subjects(
    query: Annotated[ResearchSubjectListQuery, Query()], actor: CurrentActor, research: Research
) -> ResearchSubjectPageOut:
    """List the patients, de-identified, in the order of their pseudonyms. For researchers alone."""
    page = await research.list(actor, cursor=query.cursor, at_most=query.limit)
    return ResearchSubjectPageOut(**page_of(page, tuple(map(ResearchSubjectOut.of, page.items))))
