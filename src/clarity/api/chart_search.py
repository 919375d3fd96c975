"""The route that searches a patient's chart for words, and its shapes."""

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

from clarity.api.dependencies import ChartSearch, CurrentActor
from clarity.api.patients.shapes import NoticeOut
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Json, Limit, PageOut, PartialDateText, Received, Wire, page_of
from clarity.application.chart_search import RecordFound, RecordKind
from clarity.domain.errors import NotFound
from clarity.domain.full_text import MAX_QUERY
from clarity.domain.ids import PatientId
from clarity.domain.records import Label

router = router_of("patients/{patient_id}/chart")
router.tags = ["chart"]


class ChartSearchIn(Received):
    """What is looked for in a chart, all of it: words, "phrases", and beginnings of words such as depr*."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": 'sertraline "early waking" depr*', "kinds": ["note"], "limit": 20}]}
    )

    query: Annotated[str, Field(max_length=MAX_QUERY)]
    """Case, accents and the endings of English words make no difference; longer words may be misspelt."""
    kinds: Annotated[tuple[RecordKind, ...], Field(min_length=1, max_length=len(RecordKind))] = tuple(RecordKind)
    cursor: str | None = None
    """The `next_cursor` of the page before."""
    limit: Limit = 20


class SpanOut(Wire):
    """A match: its first character in the text beside it, and the one behind its last, in Unicode code points."""

    start: int
    end: int


class SnippetOut(Wire):
    """Some of a text, and where in it stands what was looked for."""

    text: str
    matches: tuple[SpanOut, ...]


_EXAMPLE: dict[str, Any] = {
    "kind": "note",
    "id": "019a9d5c-60b1-7e52-9a4c-77d0a2b1c3e4",
    "patient": "019a9d5c-1c0a-7f3e-8b52-0e61d9a4c7b8",
    "day": "2026-03-12",
    "status": "signed",
    "label": "normal",
    "title": {"text": "Third visit", "matches": []},
    "snippet": {"text": "Started sertraline 50 mg in the morning.", "matches": [{"start": 8, "end": 18}]},
    "as_spelt": True,
    "notice": None,
}


class RecordFoundOut(Wire):
    """A record in which all that was looked for stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    kind: RecordKind
    id: UUID
    """Of a note or prescription, to be viewed by its own route."""
    patient: PatientId
    """Whose record it was of; another than was asked for if that was merged into theirs."""
    day: PartialDateText | None = None
    """When what a note tells of took place, or when it was signed; when a prescription begins."""
    status: str
    label: Label
    title: SnippetOut
    """The whole title of a note, or the name of what was prescribed."""
    snippet: SnippetOut
    """The piece of what it says in which most of it stands; its beginning if that is the title alone."""
    as_spelt: bool
    """False if typos had to be forgiven. Such records come behind all others."""
    notice: NoticeOut | None = None
    """What has to go with it under 42 CFR Part 2."""

    @classmethod
    def of(cls, found: RecordFound) -> Self:
        """Return the shape of `found`."""
        return cls.model_validate(found)


class ChartFoundOut(PageOut[RecordFoundOut]):
    """Some of the records that answer, the best answers first."""

    looked_through: int
    """How many records were read: of those that the caller may see."""
    complete: bool
    """False if there is more in the chart than one search reads, which is 5,000 records or 20 million characters; the
    oldest are left out. Also if some could not be read."""


@router.post("/search", responses=documented(NotFound(), HTTPException(413), HTTPException(415)))
async def search_chart(
    patient_id: PatientId, search: Json[ChartSearchIn], actor: CurrentActor, charts: ChartSearch
) -> ChartFoundOut:
    """Search a patient's notes and prescriptions for words, as far as they are the caller's to see.

    404 also means that not all of the kinds are yours to see of this patient.
    """
    found = await charts.search(
        actor,
        patient_id,
        search.query,
        kinds=search.kinds,
        cursor=search.cursor or "",
        at_most=search.limit,
    )
    return ChartFoundOut(
        **page_of(found, tuple(map(RecordFoundOut.of, found.items))),
        looked_through=found.looked_through,
        complete=found.complete,
    )
