"""The route of the daily report of unusual access, and its shapes."""

from datetime import date
from typing import Annotated, Self
from uuid import UUID

from fastapi import Query
from pydantic import ConfigDict

from clarity.api.dependencies import AccessReports, CurrentActor
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Day, Instant, Wire
from clarity.domain.errors import Forbidden
from clarity.domain.unusual_access import AccessReport, Finding, Unusual

router = router_of("audit")


class UnusualAccessOut(Wire):
    """Something unusual that one account did. It says that somebody should look, not that it was wrong."""

    kind: Unusual
    """`volume`: far more patients than on its own days before, and than others of its role. `hours`: outside the usual
    hours of the practice and of the account. `no-tie`: patients to whom it had no tie at the time. `same-family-name`:
    patients with the holder's family name. `break-glass-unreviewed`: broken glass that nobody reviewed in 72 hours."""
    account: UUID
    name: str
    """What the holder of the account is called."""
    role: str
    count: int
    """How many patients; of `hours` how many looks, of `break-glass-unreviewed` how many accesses."""
    limit: int | None
    """Of `volume`: how many patients would have been usual."""
    patients: tuple[UUID, ...]
    """The patients, 50 at most."""
    break_glass: tuple[UUID, ...]
    """The accesses that wait for a review, 50 at most."""
    first_at: Instant
    last_at: Instant

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """Return the shape of `finding`."""
        return cls(
            kind=finding.kind,
            account=finding.account,
            name=finding.name,
            role=finding.role.title,
            count=finding.count,
            limit=finding.limit,
            patients=finding.patients,
            break_glass=finding.glasses,
            first_at=finding.first_at,
            last_at=finding.last_at,
        )


class AccessReportOut(Wire):
    """What was unusual in one calendar day in the practice, computed from the audit trail when it is asked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "day": "2026-03-13",
                    "since": "2026-03-13T04:00:00Z",
                    "until": "2026-03-14T04:00:00Z",
                    "over": True,
                    "counts": {
                        "volume": 1,
                        "hours": 0,
                        "no-tie": 0,
                        "same-family-name": 0,
                        "break-glass-unreviewed": 0,
                    },
                    "findings": [
                        {
                            "kind": "volume",
                            "account": "019a9d5c-2b6f-7d11-8f0a-13c5d7e9b2a6",
                            "name": "Grace Hopper",
                            "role": "front-desk",
                            "count": 64,
                            "limit": 40,
                            "patients": ["019a9d5c-1c0a-7f3e-8b52-0e61d9a4c7b8"],
                            "break_glass": [],
                            "first_at": "2026-03-13T14:02:11Z",
                            "last_at": "2026-03-13T14:05:40Z",
                        }
                    ],
                }
            ]
        }
    )

    day: date
    since: Instant
    until: Instant
    over: bool
    """Whether the day is over; a day that is not is reported on up to now."""
    counts: dict[Unusual, int]
    findings: tuple[UnusualAccessOut, ...]

    @classmethod
    def of(cls, report: AccessReport) -> Self:
        """Return the shape of `report`."""
        return cls(
            day=report.day,
            since=report.span.start,
            until=report.span.end,
            over=report.over,
            counts=report.counts,
            findings=tuple(map(UnusualAccessOut.of, report.findings)),
        )


class AccessReportQuery(Wire):
    """Which day is asked for."""

    model_config = ConfigDict(strict=False, extra="forbid")

    day: Day | None = None
    """A calendar day in the practice; yesterday if there is none."""


@router.get("/report", responses=documented(Forbidden()))
async def report_unusual_access(
    query: Annotated[AccessReportQuery, Query()], actor: CurrentActor, reports: AccessReports
) -> AccessReportOut:
    """Report what was unusual in the accesses of a day. For compliance officers alone; itself in the trail."""
    return AccessReportOut.of(await reports.read(actor, query.day))
