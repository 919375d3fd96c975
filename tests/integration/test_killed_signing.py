"""A note whose signing was killed is a draft or signed, and in the trail if and only if it is signed."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import select

from clarity.audit.encoding import decode
from clarity.bootstrap import operator, running
from clarity.config import Settings
from clarity.domain.access import Action
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.notes import NoteContent, NoteKind, NoteStatus
from clarity.persistence.audit import AuditEventRow
from clarity.persistence.engine import Database
from clarity.persistence.history import RecordVersionRow
from clarity.persistence.notes import NoteRow
from clarity.upkeep import make_keys
from tests.builders import a_patient, a_practitioner, an_actor
from tests.shells import surroundings

_MOST = 12


async def test_a_note_whose_signing_was_killed_is_a_draft_or_signed_whole_with_its_event(
    tmp_path: Path, database_url: str, database: Database
) -> None:
    settings = Settings(data_dir=tmp_path / "data", async_database_uri=SecretStr(database_url))
    make_keys(settings)
    async with running(settings) as services:
        anna = await services.practitioners.register(operator(), a_practitioner())
        patient = await services.patients.register(operator(), a_patient(care_team=frozenset({anna.id})))
        actor = an_actor(practitioner=anna.id)
        content = NoteContent(kind=NoteKind.PROGRESS, body="Slept well.", about=datetime(2026, 3, 1, 10, tzinfo=UTC))
        notes = [(await services.notes.draft(actor, patient.id, content)).id for _ in range(_MOST)]

        about = {"actor": actor.id, "practitioner": anna.id, "patient": patient.id, "notes": notes}
        signing = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.dying"),
            env=surroundings() | {"DATA_DIR": str(settings.data_dir), "ASYNC_DATABASE_URI": database_url},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await signing.communicate(json.dumps(about, default=str).encode())
        killed = int(out)
        assert killed >= 4

        rows, versions, events = await _stored(database)
        found = {}
        for note in notes[: killed + 1]:
            status, version, sealed = rows[note]
            signed = [
                one
                for one in events
                if one.ids == (note,) and one.action is Action.SIGN and one.outcome is Outcome.SUCCEEDED
            ]
            assert [(one.version, one.sealed_digest) for one in signed] == (
                [(2, sha256(sealed).digest())] if status == "signed" else []
            )
            assert (status, version, versions.get(note)) in {("draft", 1, None), ("signed", 2, 1)}
            opened = await services.notes.view(actor, patient.id, note)
            assert (opened.status, opened.body) == (status, content.body)
            found[note] = status
            if opened.status is NoteStatus.DRAFT:
                await services.notes.sign(actor, patient.id, note, version=1)
        # The last was acknowledged, and the first ones cannot have come as far as that.
        assert list(found.values())[-1] == "signed"
        assert list(found.values())[:3] == ["draft"] * 3


async def _stored(
    database: Database,
) -> tuple[dict[UUID, tuple[str, int, bytes]], dict[UUID, int], list[AuditEvent]]:
    """Return the notes, the versions that were kept of them, and the trail."""
    async with database.snapshot() as session:
        rows = await session.execute(select(NoteRow.id, NoteRow.status, NoteRow.version, NoteRow.sealed))
        kept = await session.execute(select(RecordVersionRow.row_id, RecordVersionRow.version))
        encoded = await session.scalars(select(AuditEventRow.encoded))
        notes = {note: (status, version, sealed) for note, status, version, sealed in rows}
        return notes, {row[0]: row[1] for row in kept}, [decode(data) for data in encoded]
