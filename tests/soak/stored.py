"""Reads what is stored once everything is quiet: with the keys of the practice, and all of the trail."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import select

from clarity.application.services import Services
from clarity.audit.encoding import decode
from clarity.bootstrap import operator
from clarity.domain.access import Action
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.ids import PatientId
from clarity.domain.patients import Patient, PatientField
from clarity.domain.records import Resource
from clarity.persistence.audit import AuditEventRow, AuditSubjectRow
from clarity.persistence.break_glass.tables import BreakGlassRow
from clarity.persistence.consents.tables import ConsentRow
from clarity.persistence.engine import Database
from clarity.persistence.history import RecordVersionRow
from clarity.persistence.idempotency import IdempotencyKeyRow
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.registry import number_of
from tests.soak.history import Kind
from tests.soak.judging import Effect, Stored, Written

MAIL = "@soak.example"
"""What stands behind an intent in the e-mail address that carries it."""

_TABLES: dict[Resource, Any] = {
    Resource.PATIENT: PatientRow,
    Resource.CONSENT: ConsentRow,
    Resource.BREAK_GLASS: BreakGlassRow,
}


async def read_stored(services: Services, database: Database, *, leaks: tuple[str, ...], connections: int) -> Stored:
    """Return all that is judged."""
    async with database.snapshot() as session:
        events = [decode(encoded) for encoded in await session.scalars(select(AuditEventRow.encoded))]
        keys = [str(record) for record in await session.scalars(select(IdempotencyKeyRow.record_id))]
        subjects = (await session.execute(select(AuditSubjectRow.event_id, AuditSubjectRow.record_id))).all()
        versions = [one async for one in _versions(session)]
    patients = sorted({one.record for one in versions if one.table == PatientRow.__tablename__})
    effects = [effect async for effect in _effects(services, patients, events)]
    return Stored(
        effects=tuple(effects),
        versions=tuple(versions),
        told=tuple(_told(events)),
        shown=_shown(events, subjects),
        keys=tuple(keys),
        connections=connections,
        leaks=leaks,
    )


async def _versions(session: Any) -> Any:
    for rows in _TABLES.values():
        table, column = number_of(rows.__tablename__)
        kept = select(RecordVersionRow.row_id, RecordVersionRow.version, RecordVersionRow.sealed).where(
            RecordVersionRow.table_number == table, RecordVersionRow.column_number == column
        )
        for statement in (select(rows.id, rows.version, rows.sealed), kept):
            for record, version, sealed in await session.execute(statement):
                digest = sha256(sealed).digest()
                yield Written(table=rows.__tablename__, record=str(record), version=version, digest=digest)


def _told(events: list[AuditEvent]) -> Iterator[Written]:
    """Return what the trail says was written."""
    for event in events:
        if event.resource in _TABLES and event.version and event.outcome is Outcome.SUCCEEDED:
            # A patient's consents are one record, which has the id of the patient.
            record = event.patient if event.resource is Resource.CONSENT else event.ids[0]
            table = _TABLES[event.resource].__tablename__
            yield Written(table=table, record=str(record), version=event.version, digest=event.sealed_digest)


def _shown(events: list[AuditEvent], subjects: Any) -> dict[str, frozenset[str]]:
    """Return which patients each request was shown, by its events."""
    others: dict[UUID, set[str]] = defaultdict(set)
    for event_id, record in subjects:
        others[event_id].add(str(record))
    shown: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if event.outcome is Outcome.SUCCEEDED:
            shown[str(event.request)] |= {str(event.patient), *map(str, event.ids)} | others[event.id]
    return {request: frozenset(found) for request, found in shown.items()}


async def _effects(services: Services, patients: list[str], events: list[AuditEvent]) -> Any:
    writers: dict[tuple[UUID | None, int], AuditEvent] = {
        (event.patient, event.version): event
        for event in events
        if event.resource is Resource.PATIENT and event.version and event.outcome is Outcome.SUCCEEDED
    }
    for patient in map(PatientId, map(UUID, patients)):
        async for record in _revisions(services, patient):
            yield _of_patient(record, writers.get((patient, record.version)))
        register = await services.consents.list(operator(), patient)
        for consent in register.consents:
            yield Effect(kind=Kind.CONSENT, record=str(consent.id), intent=consent.from_whom)
            if consent.withdrawn_at is not None:
                yield Effect(kind=Kind.WITHDRAW, record=str(consent.id), intent=withdrawing(str(consent.id)))
    async for report in _pages(services.break_glass.list):
        yield Effect(kind=Kind.BREAK_GLASS, record=str(report.glass.id), intent=report.glass.reason)
    async for account in _pages(services.accounts.list):
        if account.email.endswith(MAIL):
            kind = Kind.MACHINE if account.machine else Kind.INVITE
            yield Effect(kind=kind, record=str(account.id), intent=account.email.removesuffix(MAIL))


def withdrawing(consent: str) -> str:
    """Return the intent of ending a consent: whoever asks for it means the same."""
    return f"withdraw-{consent}"


async def _revisions(services: Services, patient: PatientId) -> Any:
    before = None
    while revisions := await services.patients.history(operator(), patient, before=before, at_most=100):
        for revision in revisions:
            yield replace(revision.patient, version=revision.version)
        before = revisions[-1].patient.version
        if before == 1:
            return


async def _pages(list_page: Any) -> Any:
    cursor = ""
    while True:
        page = await list_page(operator(), cursor=cursor, at_most=100)
        for item in page.items:
            yield item
        cursor = page.next_cursor
        if not cursor:
            return


def _of_patient(patient: Patient, event: AuditEvent | None) -> Effect:
    request = "" if event is None else str(event.request)
    common: dict[str, Any] = {"record": str(patient.id), "version": patient.version, "request": request}
    fields = PatientField(0) if event is None else PatientField(event.fields)
    if event is not None and event.action is Action.CHANGE_CARE_TEAM:
        return Effect(kind=Kind.CARE_TEAM, **common)
    if patient.version > 1 and PatientField.LABEL in fields:
        return Effect(kind=Kind.LABEL, **common)
    intent = patient.telecoms[0].value.removesuffix(MAIL)
    return Effect(kind=Kind.REGISTER if patient.version == 1 else Kind.CHANGE, intent=intent, **common)
