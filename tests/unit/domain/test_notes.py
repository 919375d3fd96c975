"""What a note may be, and what it may become."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest

from clarity.domain.amendments import (
    Acceptance,
    Amendment,
    AmendmentStatus,
    Denial,
    DenialGround,
    Extension,
    Statement,
)
from clarity.domain.dates import PartialDate
from clarity.domain.errors import Conflict, Invalid, NotFound
from clarity.domain.ids import AmendmentId, NoteId, PatientId
from clarity.domain.notes import (
    MAX_BODY_BYTES,
    MOST_AMENDMENTS,
    Cosignature,
    Note,
    NoteContent,
    NoteKind,
    NoteStatus,
)
from clarity.domain.people import Concept
from clarity.domain.records import Label
from tests.builders import NOW, new_id

DAY = date(2026, 3, 14)
ANNA, CARL = new_id(), new_id()
CHANGES: dict[str, Any] = {
    "id": NoteId(new_id()),
    "patient": PatientId(new_id()),
    "kind": NoteKind.INTAKE,
    "title": "Another",
    "body": "Another.",
    "about": NOW - timedelta(days=1),
    "about_day": PartialDate(2026),
    "encounter": "Another",
    "addendum_to": NoteId(new_id()),
    "author": CARL,
    "written_by": "Somebody",
    "sources": ("urn:elsewhere#1",),
    "source_type": Concept(text="Another"),
    "source_digest": b"another",
    "signed_at": NOW + timedelta(days=1),
    "deleted_at": NOW,
    "label": Label.RESTRICTED,
}
"""Another value for each field of a note that nothing changes once it is signed."""


def a_draft(**content: Any) -> Note:
    whole: dict[str, Any] = {"kind": NoteKind.PROGRESS, "body": "Slept well.", "author": ANNA} | content
    return Note(id=NoteId(new_id()), patient=PatientId(new_id()), **whole)


def a_request(**content: Any) -> Amendment:
    asked: dict[str, Any] = {"id": AmendmentId(new_id()), "received_on": DAY, "requested_at": NOW, "requested_by": CARL}
    return Amendment(**{"what": "The dose.", "why": "It was another.", **asked, **content})


def refused(act: Callable[[], object]) -> str:
    """Return the field that a refusal names."""
    with pytest.raises((Invalid, Conflict)) as raised:
        act()
    return str(raised.value).partition(":")[0]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"kind": NoteKind.PSYCHOTHERAPY}, "label"),
        ({"label": Label.PSYCHOTHERAPY}, "label"),
        ({"kind": NoteKind.ADDENDUM}, "addendum_to"),
        ({"addendum_to": NoteId(new_id())}, "addendum_to"),
        ({"body": "a" * (MAX_BODY_BYTES + 1)}, "body"),
        ({"body": "\U0001f9e0" * (MAX_BODY_BYTES // 4 + 1)}, "body"),
        ({"body": "\udcff" * MAX_BODY_BYTES}, "body"),
        ({"body": "\x9b2J"}, "body"),
        ({"title": "one\ntwo"}, "title"),
        ({"title": "one\u2028two"}, "title"),
        ({"title": "one\n"}, "title"),
        ({"written_by": "a\tb"}, "written_by"),
        ({"about": NOW.replace(tzinfo=None)}, "about"),
        ({"about": NOW.replace(year=1899)}, "about"),
        ({"amendments": (a_request(),) * (MOST_AMENDMENTS + 1)}, "amendments"),
    ],
)
def test_what_is_no_note_names_its_field(content: dict[str, Any], field: str) -> None:
    assert refused(lambda: a_draft(**content)) == field


@pytest.mark.parametrize("body", ["a" * MAX_BODY_BYTES, "\U0001f9e0" * (MAX_BODY_BYTES // 4), "\t| a |\r\n"])
def test_a_body_may_be_as_long_as_the_limit_and_have_tabs_and_line_ends(body: str) -> None:
    assert a_draft(body=body).signed(NOW).body == body


def test_a_note_tells_nothing_of_itself() -> None:
    assert repr(a_draft(amendments=(a_request(),))) == "<Note>"
    assert (repr(a_request()), repr(NoteContent(kind=NoteKind.PROGRESS))) == ("<Amendment>", "<NoteContent>")


def test_a_note_is_a_draft_until_it_is_signed_or_deleted() -> None:
    draft = a_draft()
    signed = draft.signed(NOW)
    assert [one.status for one in (draft, signed, draft.deleted(NOW))] == list(NoteStatus)
    for act in (
        lambda: signed.signed(NOW),
        lambda: signed.edited({}),
        lambda: signed.deleted(NOW),
        lambda: draft.deleted(NOW).signed(NOW),
        lambda: draft.cosigned(CARL, NOW),
        lambda: draft.with_request(a_request()),
    ):
        assert refused(act) == "status"
    assert refused(lambda: a_draft(body="\n").signed(NOW)) == "body"
    assert refused(lambda: a_draft(about=NOW + timedelta(hours=1)).signed(NOW)) == "about"


def test_of_a_signed_note_nothing_changes() -> None:
    signed = a_draft().signed(NOW)
    fixed = {item.name for item in fields(Note)} - {"cosignatures", "amendments", "notice", "version"}
    assert fixed == CHANGES.keys()
    for name, value in CHANGES.items():
        kind: dict[str, Any] = {"kind": NoteKind.ADDENDUM} if name == "addendum_to" else {}
        changed = replace(signed, **{name: value}, **kind)
        assert refused(partial(changed.require_follows, signed)) in {name, *kind}
    signed.require_follows(signed)
    replace(signed, version=3).require_follows(signed)


def test_of_a_draft_it_stays_whose_it_is_and_by_whom() -> None:
    draft = a_draft()
    for name in ("patient", "author", "written_by", "sources"):
        changed = replace(draft, **{name: CHANGES[name]})
        assert refused(partial(changed.require_follows, draft)) == name
    draft.edited({"kind": NoteKind.INTAKE, "body": ""}).require_follows(draft)
    draft.signed(NOW).require_follows(draft)
    gone = draft.deleted(NOW)
    gone.require_follows(draft)
    assert refused(lambda: gone.require_follows(gone)) == "status"


def test_only_what_was_imported_follows_a_source_and_keeps_what_was_added_here() -> None:
    ours = a_draft().signed(NOW)
    theirs = replace(ours, sources=("urn:elsewhere#1",)).cosigned(CARL, NOW)
    replace(theirs, body="Slept badly.").require_corrects(theirs)
    elsewhere = replace(theirs, sources=("urn:elsewhere#2",))
    for after, before in ((replace(ours, body="Slept badly."), ours), (elsewhere, theirs)):
        assert refused(partial(after.require_corrects, before)) == "sources"
    assert refused(partial(replace(theirs, cosignatures=()).require_corrects, theirs)) == "cosignatures"


def test_signatures_and_requests_are_added_and_never_taken_away() -> None:
    signed = a_draft().signed(NOW).cosigned(CARL, NOW).with_request(a_request())
    assert refused(lambda: replace(signed, cosignatures=()).require_follows(signed)) == "cosignatures"
    other = replace(signed, cosignatures=(Cosignature(by=ANNA, at=NOW),))
    assert refused(lambda: other.require_follows(signed)) == "cosignatures"
    request = signed.amendments[0]
    for amendments in ((), (replace(request, what="Another dose."),), (a_request(), request)):
        changed = replace(signed, amendments=amendments)
        assert refused(partial(changed.require_follows, signed)) == "amendments"
    denied = signed.with_amendment(request.id, lambda one: one.denied(a_denial()))
    denied.require_follows(signed)
    assert refused(lambda: signed.require_follows(denied)) == "amendments"
    assert {refused(partial(signed.cosigned, who, NOW)) for who in (ANNA, CARL)} == {"cosignatures"}
    with pytest.raises(NotFound):
        signed.with_amendment(AmendmentId(new_id()), lambda one: one)


@pytest.mark.parametrize(
    ("original", "allowed"),
    [
        (Label.NORMAL, {Label.NORMAL, Label.RESTRICTED, Label.PART2}),
        (Label.RESTRICTED, {Label.RESTRICTED, Label.PART2}),
        (Label.PART2, {Label.PART2}),
        (Label.PSYCHOTHERAPY, {Label.PSYCHOTHERAPY}),
    ],
)
def test_an_addendum_is_at_least_as_confidential_as_what_it_adds_to(original: Label, allowed: set[Label]) -> None:
    kind = NoteKind.PSYCHOTHERAPY if original is Label.PSYCHOTHERAPY else NoteKind.PROGRESS
    first = a_draft(kind=kind, label=original).signed(NOW)
    for label in Label:
        addendum = a_draft(kind=NoteKind.ADDENDUM, addendum_to=first.id, label=label)
        if label in allowed:
            addendum.require_adds_to(first)
        else:
            assert refused(partial(addendum.require_adds_to, first)) == "label"
    content = NoteContent(kind=NoteKind.ADDENDUM, addendum_to=first.id)
    assert content.fields_beside(first)["label"] is original


def test_an_addendum_adds_neither_to_itself_nor_to_what_adds_to_it() -> None:
    first = a_draft().signed(NOW)
    addendum = a_draft(kind=NoteKind.ADDENDUM, addendum_to=first.id)
    for original in (None, a_draft(), replace(first, kind=NoteKind.ADDENDUM, addendum_to=addendum.id)):
        assert refused(partial(addendum.require_adds_to, original)) == "addendum_to"
    assert refused(lambda: replace(addendum, addendum_to=addendum.id)) == "addendum_to"
    first.require_adds_to(None)


def a_denial() -> Denial:
    return Denial(ground=DenialGround.ACCURATE_AND_COMPLETE, basis="It was measured.", at=NOW, by=ANNA)


def an_extension(until: date) -> Extension:
    return Extension(reason="Records were asked for.", until=until, at=NOW, by=ANNA)


def test_a_request_is_decided_within_sixty_days_or_once_thirty_more() -> None:
    request = a_request()
    assert request.due_on == date(2026, 5, 13)
    latest = date(2026, 6, 12)
    extended = request.extended(an_extension(latest), DAY + timedelta(days=60))
    assert (extended.due_on, extended.status) == (latest, AmendmentStatus.OPEN)
    for until in (date(2026, 5, 13), latest + timedelta(days=1)):
        assert refused(partial(request.extended, an_extension(until), DAY)) == "until"
    for late in (
        lambda: request.extended(an_extension(latest), DAY + timedelta(days=61)),
        lambda: extended.extended(an_extension(latest), DAY),
    ):
        assert refused(late) == "extension"
    note = a_draft().signed(NOW).with_request(extended).with_request(a_request(received_on=DAY + timedelta(days=2)))
    assert note.due_on == date(2026, 5, 15)
    assert replace(note, amendments=()).due_on is None


def test_a_request_is_decided_once_and_what_was_said_of_it_stays() -> None:
    request = a_request()
    acceptance = Acceptance(addendum=NoteId(new_id()), told=("The patient",), at=NOW, by=ANNA)
    for decided in (request.accepted(acceptance), request.denied(a_denial())):
        for again in (
            partial(decided.accepted, acceptance),
            partial(decided.denied, a_denial()),
            partial(decided.extended, an_extension(date(2026, 6, 1)), DAY),
        ):
            assert refused(again) == "amendment"
    said = Statement(text="It was not.", at=NOW, by=CARL)
    disagreed = request.denied(a_denial()).disagreed(said)
    assert (disagreed.status, disagreed.rebutted(said).rebuttal) == (AmendmentStatus.DENIED, said)
    for out_of_turn, field in (
        (lambda: request.disagreed(said), "disagreement"),
        (lambda: request.accepted(acceptance).disagreed(said), "disagreement"),
        (lambda: disagreed.disagreed(said), "disagreement"),
        (lambda: request.denied(a_denial()).rebutted(said), "rebuttal"),
        (lambda: disagreed.rebutted(said).rebutted(said), "rebuttal"),
    ):
        assert refused(out_of_turn) == field


@pytest.mark.parametrize(
    ("act", "field"),
    [
        (lambda: a_request(what=" "), "what"),
        (lambda: a_request(why="w" * 10_001), "why"),
        (lambda: Statement(text="", at=NOW, by=CARL), "text"),
        (lambda: replace(a_denial(), basis=""), "basis"),
        (lambda: replace(an_extension(DAY), reason=""), "reason"),
        (lambda: Acceptance(addendum=NoteId(new_id()), told=(), at=NOW, by=ANNA), "told"),
        (lambda: Acceptance(addendum=NoteId(new_id()), told=("A", ""), at=NOW, by=ANNA), "told.1"),
    ],
)
def test_what_is_said_of_a_request_says_something(act: Callable[[], object], field: str) -> None:
    assert refused(act) == field


def test_the_grounds_of_a_denial_are_those_of_the_rule() -> None:
    assert [ground.citation.rpartition("(")[2] for ground in DenialGround] == ["i)", "ii)", "iii)", "iv)"]
