"""The routes on duplicates, and their shapes."""

from datetime import date
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Query
from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

from clarity.api.dependencies import CurrentActor, Duplicates, Today
from clarity.api.patients.shapes import PatientOut
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Instant, Json, Limit, PageOut, Received, Wire, page_of
from clarity.application.duplicates import Reviewed
from clarity.domain.duplicates import Compared, Duplicate, DuplicateStatus, Likeness
from clarity.domain.errors import Conflict, DuplicateMrn, NotFound, StaleWrite
from clarity.domain.ids import DuplicateId, PatientId
from clarity.domain.patients import FIELD_BITS, PatientField
from clarity.domain.values import MAX_TEXT

_BODY = documented(HTTPException(413), HTTPException(415))
_MERGED_ALREADY = Conflict("the two records are merged already")

router = router_of("duplicates")

Note = Annotated[str, Field(max_length=MAX_TEXT)]


class DuplicateListQuery(Wire):
    """Which reviews are listed."""

    model_config = ConfigDict(strict=False, extra="forbid")

    status: DuplicateStatus = DuplicateStatus.OPEN
    cursor: str = ""
    """The `next_cursor` of the page before."""
    limit: Limit = 50


class DecisionIn(Received):
    """What is said of a decision."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "Mother and son, on one telephone."}]})

    note: Note = ""
    """Why. It is sealed with the review."""


class MergeIn(Received):
    """Whose record is to stay."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"survivor": "019a9d5c-60b1-7e52-9a4c-77d0a2b1c3e4", "note": "Registered twice in March."}]
        }
    )

    survivor: PatientId
    """The one of the two whose record stays; the other's ends, and what it had is added to this one."""
    note: Note = ""
    """Why. It is sealed with the review."""


class DuplicateOut(Wire):
    """A review of two patients who may be one person."""

    id: DuplicateId
    version: int
    status: DuplicateStatus
    patients: tuple[PatientId, PatientId]
    kinds: tuple[str, ...]
    """In which kinds of identifiers the two ever collided: `ssn`, `email`, `phone`."""
    opened_at: Instant
    note: str
    """What was said of the last decision, as are who made it and when."""
    decided_at: Instant | None
    decided_by: UUID | None
    survivor: PatientId | None
    """Whose record stayed, while a merge stands."""
    moved: tuple[str, ...]
    """The fields of the survivor that the merge added to."""

    @classmethod
    def of(cls, review: Duplicate) -> Self:
        """Return the shape of `review`."""
        merge = review.merge
        return cls(
            id=review.id,
            version=review.version,
            status=review.status,
            patients=(review.patient, review.other),
            kinds=tuple(kind.name.lower() for kind in review.kinds),
            opened_at=review.opened_at,
            note=review.note,
            decided_at=review.decided_at,
            decided_by=review.decided_by,
            survivor=None if merge is None else merge.survivor,
            moved=() if merge is None else _names_of(merge.moved.filled),
        )


class ComparedOut(Wire):
    """How one field of the two records compares. What both leave blank is left out."""

    field: str
    likeness: Likeness
    """`equal`; `similar`, if they have something in common; `different`; `one-sided`, if one of them is blank."""

    @classmethod
    def of(cls, compared: Compared) -> Self:
        """Return the shape of `compared`."""
        return cls(field=_names_of(compared.field)[0], likeness=compared.likeness)


class DuplicatePageOut(PageOut[DuplicateOut]):
    """Some of the reviews of which the caller may see both patients."""


class DuplicateViewOut(DuplicateOut):
    """A review with the records that it is about. Of a merge only the one that stayed is shown."""

    records: tuple[PatientOut, ...]
    compared: tuple[ComparedOut, ...]

    @classmethod
    def showing(cls, reviewed: Reviewed, today: date) -> Self:
        """Return the shape of `reviewed` on the day that is `today` in the practice."""
        review: dict[str, Any] = dict(DuplicateOut.of(reviewed.review))
        return cls(
            **review,
            records=tuple(PatientOut.of(patient, today) for patient in reviewed.records),
            compared=tuple(ComparedOut.of(one) for one in reviewed.compared),
        )


@router.get("")
async def list_duplicates(
    query: Annotated[DuplicateListQuery, Query()], actor: CurrentActor, duplicates: Duplicates
) -> DuplicatePageOut:
    """List the reviews of which the caller may see both patients, the oldest first.

    A review opens by itself when somebody is registered, changed or imported who has the same social security number,
    e-mail address or telephone number as another patient.
    """
    page = await duplicates.list(actor, query.status, cursor=query.cursor, at_most=query.limit)
    return DuplicatePageOut(**page_of(page, tuple(map(DuplicateOut.of, page.items))))


@router.get("/{review_id}", responses=documented(NotFound()))
async def view_duplicate(
    review_id: DuplicateId, actor: CurrentActor, duplicates: Duplicates, today: Today
) -> DuplicateViewOut:
    """Show a review with both records, and how they compare field by field."""
    return DuplicateViewOut.showing(await duplicates.view(actor, review_id), today)


@router.post("/{review_id}/distinct", responses={**_BODY, **documented(NotFound(), _MERGED_ALREADY, StaleWrite())})
async def decide_distinct(
    review_id: DuplicateId, decision: Json[DecisionIn], actor: CurrentActor, duplicates: Duplicates
) -> DuplicateOut:
    """Decide that the two are two people. The review opens again only if they collide in another kind."""
    return DuplicateOut.of(await duplicates.distinguish(actor, review_id, decision.note))


@router.post("/{review_id}/merge", responses={**_BODY, **documented(NotFound(), _MERGED_ALREADY, StaleWrite())})
async def merge_duplicate(
    review_id: DuplicateId, decision: Json[MergeIn], actor: CurrentActor, duplicates: Duplicates
) -> DuplicateOut:
    """Decide that the two are one person. One record ends, the other gains what it lacked; it can be taken back."""
    return DuplicateOut.of(await duplicates.merge(actor, review_id, decision.survivor, decision.note))


@router.post(
    "/{review_id}/unmerge",
    responses={
        **_BODY,
        **documented(NotFound(), Conflict("the two records are not merged"), DuplicateMrn(), StaleWrite()),
    },
)
async def unmerge_duplicate(
    review_id: DuplicateId, decision: Json[DecisionIn], actor: CurrentActor, duplicates: Duplicates
) -> DuplicateOut:
    """Take a merge back: what it added leaves the survivor, as far as it is still there; the other is restored.

    The review is open again. While a later merge of the survivor stands, that one has to be taken back first.
    """
    return DuplicateOut.of(await duplicates.unmerge(actor, review_id, decision.note))


def _names_of(fields: PatientField) -> tuple[str, ...]:
    return tuple(name for name, bit in FIELD_BITS.items() if bit in fields)
