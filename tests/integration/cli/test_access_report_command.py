"""`clarity audit report`, as a compliance officer reads it."""

import json
from datetime import UTC, datetime, timedelta

from clarity.cli.endings import Status
from clarity.domain.access import Action, Role
from tests.shells import Terminal, is_one_line


def test_an_officer_reads_it_and_it_is_in_the_trail(practice: Terminal) -> None:
    closed_now = f"{datetime.now(UTC) + timedelta(days=3):%a}".lower()
    practice.set(practice_hours=f"{closed_now}-{closed_now} 00:00-24:00")
    nothing = practice.as_("compliance-officer", "audit", "report")
    assert (nothing.status, nothing.out, "Nothing unusual" in nothing.err) == (Status.OK, "", True)
    found = json.loads(practice.as_("front-desk", "patient", "find", "--json").out)["items"]
    today = datetime.now(UTC).date().isoformat()
    report = practice.as_("compliance-officer", "audit", "report", "--day", today)
    assert (report.status, "so far: hours 1" in report.err) == (Status.OK, True)
    assert "front-desk" in report.out
    assert any(one["id"] in report.out for one in found)
    plain = json.loads(practice.as_("compliance-officer", "audit", "report", "--day", today, "--json").out)
    [finding] = plain["findings"]
    assert (plain["day"], finding["kind"], finding["role"], finding["count"]) == (
        today,
        "hours",
        "front-desk",
        len(found),
    )
    assert set(finding["patients"]) == {one["id"] for one in found}
    for one in found:
        assert not any(name["family"] in report.out for name in one["names"])
    asked = [event for event in practice.events() if event.action is Action.REPORT]
    assert [event.role for event in asked].count(Role.COMPLIANCE_OFFICER) == 3


def test_who_may_not_and_what_is_no_day_is_told_in_one_line(practice: Terminal) -> None:
    refused = practice.as_("front-desk", "audit", "report")
    assert (refused.status, refused.out, is_one_line(refused.err)) == (Status.NOT_ALLOWED, "", True)
    for day in ("yesterday", "2026-02-30", "2999-01-01"):
        wrong = practice.as_("compliance-officer", "audit", "report", "--day", day)
        assert (wrong.status, wrong.out, is_one_line(wrong.err)) == (Status.USAGE, "", True)
