"""The search of a chart on every storage: only what its asker may see is read, counted, or has a part in the order."""

from dataclasses import replace
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from clarity.application.chart_search import ChartFound, ChartSearchService, RecordKind
from clarity.application.charts import Charting
from clarity.domain.access import Action, Actor, Role
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.errors import Invalid, NotFound
from clarity.domain.ids import NoteId, PatientId
from clarity.domain.medications import Prescription
from clarity.domain.notes import Note, NoteKind
from clarity.domain.records import Label, Resource
from clarity.persistence.full_text import SqliteFullText
from clarity.persistence.notes import NoteRow
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_consent, a_patient, a_practitioner, a_prescription, an_actor, new_id
from tests.canaries import plant
from tests.practice import Practice
from tests.servers import tampering
from tests.ties import consented

ASKED = "quetiapine"


@pytest.fixture
def search(practice: Practice, keyring: Keyring) -> ChartSearchService:
    return ChartSearchService(
        reading=practice.reading,
        full_text=SqliteFullText(),
        cursors=Cursors(keyring),
        now=lambda: NOW,
        zone=ZoneInfo("America/New_York"),
    )


class Ward:
    """Anna and Carl, who care for one patient."""

    def __init__(self, practice: Practice, patient: PatientId, anna: Actor, carl: Actor) -> None:
        self.practice, self.patient, self.anna, self.carl = practice, patient, anna, carl

    async def noted(
        self, author: Actor, body: str, *, title: str = "", label: Label = Label.NORMAL, draft: bool = False
    ) -> UUID:
        plant(ASKED, body, title)
        kind = NoteKind.PSYCHOTHERAPY if label is Label.PSYCHOTHERAPY else NoteKind.PROGRESS
        note = Note(id=NoteId(new_id()), patient=self.patient, kind=kind, title=title, body=body, label=label)
        async with self.practice.begin() as work:
            charting = Charting(work, work.notes, author, NOW)
            await work.notes.add(
                await charting.admit_new(note), note if draft else replace(note, signed_at=NOW, about=NOW)
            )
        return note.id

    async def ordered(self, prescription: Prescription) -> UUID:
        async with self.practice.begin() as work:
            charting = Charting(work, work.prescriptions, self.anna, NOW)
            await work.prescriptions.add(await charting.admit_new(prescription), prescription)
        return prescription.id


@pytest.fixture
async def ward(practice: Practice) -> Ward:
    anna, carl = [await practice.employed(a_practitioner()) for _ in range(2)]
    patient = await practice.stored(a_patient(care_team=frozenset({anna.id, carl.id})))
    return Ward(practice, patient.id, an_actor(practitioner=anna.id), an_actor(practitioner=carl.id))


def ids(found: ChartFound) -> list[UUID]:
    return [one.id for one in found.items]


async def searches_in(practice: Practice) -> list[AuditEvent]:
    return [one for one in await practice.events() if one.action is Action.SEARCH]


async def test_notes_and_prescriptions_are_found_together_the_best_first_and_named_in_the_trail(
    practice: Practice, search: ChartSearchService, ward: Ward
) -> None:
    plain = await ward.noted(ward.anna, f"Slept well. Continues {ASKED} at night.", title="Third visit")
    await ward.noted(ward.anna, "Nothing of the kind.")
    order = await ward.ordered(a_prescription(ward.patient, name="Quetiapine 25 MG Oral Tablet"))
    found = await search.search(ward.carl, ward.patient, ASKED)
    assert ids(found) == [order, plain]
    assert (found.count, found.exact, found.complete, found.looked_through) == (2, True, True, 3)
    prescription, note = found.items
    assert (prescription.kind, str(prescription.day), prescription.status) == ("prescription", "2026-01-10", "active")
    assert (note.kind, note.title.text, note.status) == ("note", "Third visit", "signed")
    (place,) = note.snippet.matches
    assert note.snippet.text[place.start : place.end] == ASKED
    assert ASKED not in repr(found)
    events = {event.resource: event for event in await searches_in(practice)}
    assert set(events) == {Resource.NOTE, Resource.PRESCRIPTION}
    assert {kind: event.ids for kind, event in events.items()} == {
        Resource.NOTE: (plain,),
        Resource.PRESCRIPTION: (order,),
    }
    assert all(event.query_mac and event.patient == ward.patient for event in events.values())


async def test_what_is_kept_from_somebody_has_no_part_in_what_they_find(
    practice: Practice, search: ChartSearchService, ward: Ward
) -> None:
    often = await ward.noted(ward.anna, f"{ASKED} {ASKED} and rain")
    once = await ward.noted(ward.anna, f"{ASKED} and rain and rain and rain and sun")
    before = await search.search(ward.carl, ward.patient, f"{ASKED} rain")
    apart = [
        await ward.noted(ward.anna, f"{ASKED} {ASKED} rain {number}", label=Label.PSYCHOTHERAPY) for number in range(3)
    ]
    draft = await ward.noted(ward.anna, f"{ASKED} rain, not finished", draft=True)
    assert await search.search(ward.carl, ward.patient, f"{ASKED} rain") == before
    assert (set(ids(before)), before.count) == ({often, once}, 2)
    himself = an_actor(Role.PATIENT, patient=ward.patient)
    assert (await search.search(himself, ward.patient, f"{ASKED} rain")).count == 2
    own = await search.search(ward.anna, ward.patient, f"{ASKED} rain")
    assert (set(ids(own)), own.looked_through) == ({often, once, draft, *apart}, 6)
    assert {one.status for one in own.items if one.id == draft} == {"draft"}
    for apart_only in ("quetiapin*", "2"):
        assert not set(ids(await search.search(ward.carl, ward.patient, apart_only))) & {draft, *apart}
    await consented(practice, ward.patient, a_consent(labels=(Label.PSYCHOTHERAPY,)))
    assert (await search.search(ward.carl, ward.patient, f"{ASKED} rain")).count == 5


async def test_whoever_may_not_see_a_chart_finds_it_no_more_than_one_that_is_absent(
    practice: Practice, search: ChartSearchService, ward: Ward
) -> None:
    await ward.noted(ward.anna, ASKED)
    stranger = an_actor(practitioner=a_practitioner().id)
    for actor in (stranger, an_actor(Role.FRONT_DESK), an_actor(Role.COMPLIANCE_OFFICER), an_actor(Role.RESEARCHER)):
        with pytest.raises(NotFound):
            await search.search(actor, ward.patient, ASKED, kinds=[RecordKind.NOTE])
    with pytest.raises(NotFound):
        await search.search(ward.anna, PatientId(new_id()), ASKED, kinds=[RecordKind.NOTE])
    refused = await searches_in(practice)
    assert [event.outcome for event in refused] == [Outcome.REFUSED] * 5
    for query, kinds in (("?", RecordKind), (ASKED, ())):
        with pytest.raises(Invalid):
            await search.search(ward.anna, ward.patient, query, kinds=kinds)


async def test_pages_go_on_where_the_last_ended_for_the_same_question_alone(
    search: ChartSearchService, ward: Ward
) -> None:
    made = {await ward.noted(ward.anna, f"{ASKED} {'and ' * number}", title=f"No. {number}") for number in range(5)}
    cursor, found = "", list[UUID]()
    while True:
        page = await search.search(ward.carl, ward.patient, ASKED, cursor=cursor, at_most=2)
        assert page.count == 5
        found += ids(page)
        if not (cursor := page.next_cursor):
            break
        for actor, query in ((ward.anna, ASKED), (ward.carl, f"{ASKED} and")):
            with pytest.raises(Invalid):
                await search.search(actor, ward.patient, query, cursor=cursor)
    assert len(found) == 5
    assert set(found) == made
    with pytest.raises(Invalid, match="limit"):
        await search.search(ward.carl, ward.patient, ASKED, at_most=101)


async def test_a_search_reads_so_much_and_says_what_it_left_out(
    search: ChartSearchService, ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarity.persistence.charts._ROWS_AT_A_TIME", 2)
    monkeypatch.setattr("clarity.persistence.charts._BYTES_AT_A_TIME", 1_500)
    notes = [await ward.noted(ward.anna, f"{ASKED} {'x ' * 300}{number}") for number in range(5)]
    whole = await search.search(ward.anna, ward.patient, ASKED)
    assert (set(ids(whole)), whole.complete, whole.looked_through) == (set(notes), True, 5)
    monkeypatch.setattr("clarity.application.chart_search._Budget.__init__.__defaults__", (3, 20_000_000, True))
    some = await search.search(ward.anna, ward.patient, ASKED)
    assert (set(ids(some)), some.complete, some.exact, some.looked_through) == (set(notes[2:]), False, False, 3)


async def test_what_does_not_open_is_said_to_be_missing(
    practice: Practice, search: ChartSearchService, ward: Ward
) -> None:
    if practice.database is None:
        pytest.skip("in memory nothing is sealed row by row")
    altered, whole = [await ward.noted(ward.anna, f"{ASKED} once") for _ in range(2)]
    async with tampering(practice.database) as session:
        await session.execute(update(NoteRow).where(NoteRow.id == altered).values(sealed=b"x" * 400))
    found = await search.search(ward.carl, ward.patient, ASKED)
    assert (ids(found), found.complete, found.exact) == ([whole], False, False)
