"""The use-cases on practitioners."""

from dataclasses import dataclass
from uuid import UUID

from clarity.application.admission import require_right
from clarity.application.pages import Page, page_size
from clarity.application.ports import BeginReading, Clock, Cursors
from clarity.domain.access import Action, Actor
from clarity.domain.audit import Attempt
from clarity.domain.ids import PractitionerId
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Resource


@dataclass(frozen=True, slots=True)
class PractitionerService:
    """The use-cases on practitioners: staff see who could be on a care team."""

    reading: BeginReading
    cursors: Cursors
    now: Clock

    async def list(self, actor: Actor, *, cursor: str = "", at_most: int = 50) -> Page[Practitioner]:
        """Return the practitioners in the order they came. Raises `Forbidden` for those who are not staff."""
        context = b"practitioners" + actor.id.bytes
        after = PractitionerId(UUID(bytes=self.cursors.open(cursor, context))) if cursor else None
        size = page_size(at_most)
        async with self.reading(snapshot=True) as work:
            attempt = work.note(Attempt(actor=actor, action=Action.LIST, at=self.now(), resource=Resource.PRACTITIONER))
            require_right(attempt, Action.LIST)
            found = await work.practitioners.find_page(after=after, at_most=size + 1)
            items = tuple(found[:size])
            attempt.ids = tuple(practitioner.id for practitioner in items)
            count = await work.practitioners.count()
        next_cursor = self.cursors.seal(items[-1].id.bytes, context) if len(found) > size else ""
        return Page(items=items, next_cursor=next_cursor, count=count)
