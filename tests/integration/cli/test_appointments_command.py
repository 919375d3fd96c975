"""Appointments at the command line, as whoever logs in."""

import json
from datetime import UTC, date, datetime, timedelta

from clarity.cli.endings import Status
from tests.shells import Terminal


def a_monday() -> date:
    """Return a Monday on which the made-up practice has nothing yet."""
    later = datetime.now(UTC).date() + timedelta(days=60)
    return later + timedelta(days=-later.weekday() % 7)


def test_a_day_is_booked_shown_closed_and_told_to_a_calendar(practice: Terminal) -> None:
    patients = json.loads(practice.as_("clinician", "patient", "find", "--json").out)["items"]
    patient = next(one["id"] for one in patients if "label" not in one or one["label"] == "normal")
    name = next(one for one in patients if one["id"] == patient)["names"][0]["family"]
    day = a_monday()
    whole = json.loads(practice.as_("clinician", "appointment", "day", "--day", f"{day}", "--json").out)
    assert "appointments" not in whole
    whose = whole["practitioner"]

    what = ("--minutes", "50", "--kind", "therapy", "--place", "Room 214", "--reason", "Sleep")
    booked = practice.as_("front-desk", "appointment", "book", patient, whose, f"{day}T09:00", *what)
    assert (booked.status, len(booked.out.split())) == (Status.OK, 1)
    appointment = booked.out.strip()
    taken = practice.as_("front-desk", "appointment", "book", patient, whose, f"{day}T09:30")
    assert taken.status == Status.REFUSED
    assert "This time is taken" in taken.err

    shown = practice.as_("clinician", "appointment", "day", "--day", f"{day}")
    assert shown.status == Status.OK
    for words in (name, "09:00-09:50", "Room 214", "free, 120 minutes", "Open 07:00-20:00", "1 booked"):
        assert words in shown.out
    feed = practice.as_("clinician", "appointment", "feed")
    assert f"UID:urn:uuid:{appointment}" in feed.out
    assert "Room 214" not in feed.out

    series = practice.as_(
        "front-desk",
        "appointment",
        "book",
        patient,
        whose,
        f"{day}T15:00",
        "--repeat",
        "weekly",
        "--times",
        "3",
        "--json",
    )
    ids = [one["id"] for one in json.loads(series.out)]
    assert len(ids) == 3
    rest = practice.as_("front-desk", "appointment", "cancel", patient, ids[1], "--reason", "Moves away", "--following")
    assert rest.out.split() == ids[1:]
    closed = practice.as_("front-desk", "appointment", "close-day", f"{day}")
    assert "2 appointments are booked" in closed.err
    listed = practice.as_("clinician", "appointment", "list", patient, "--latest")
    assert listed.out.index(ids[2]) < listed.out.index(appointment)
    assert practice.as_("front-desk", "appointment", "reopen-day", closed.out.strip()).status == Status.OK
    early = practice.as_("front-desk", "appointment", "no-show", patient, appointment)
    assert "has not begun" in early.err


def test_the_made_up_practice_has_an_agenda(practice: Terminal) -> None:
    rows = practice.rows("SELECT status, count(*) FROM appointments GROUP BY status")
    counts = dict(rows)
    assert counts["booked"] > 10
    assert counts["completed"] > 10
    assert set(counts) <= {"booked", "completed", "cancelled", "no-show"}
