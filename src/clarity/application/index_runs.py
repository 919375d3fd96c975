"""What the trail says of a search index: that it was filled, and with how many records."""

from dataclasses import dataclass

from clarity.application.ports import BeginReading, Clock, NewId
from clarity.application.retry import retrying
from clarity.domain.access import INDEXER, Action, of_system
from clarity.domain.audit import Attempt
from clarity.domain.ids import RequestId


@dataclass(frozen=True, slots=True)
class IndexRuns:
    """Tells the trail of each run in which names were opened to be compared, which shows them to nobody."""

    reading: BeginReading
    now: Clock
    new_id: NewId

    @retrying
    async def __call__(self, count: int) -> None:
        """Return once it is durable that the index took in `count` records. Raises `TrailUnavailable`."""
        indexer = of_system(INDEXER, RequestId(self.new_id()))
        async with self.reading() as work:
            work.note(Attempt(actor=indexer, action=Action.REFRESH, at=self.now(), count=count))
