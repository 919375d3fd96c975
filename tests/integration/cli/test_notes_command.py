"""Notes and requests to amend them at the command line, as whoever logs in."""

import asyncio
import io
import json
import re
import stat
import sys
from pathlib import Path

import pytest

from clarity.cli.endings import Status
from clarity.cli.writing import edited, given_text
from clarity.domain.errors import Invalid
from tests.canaries import plant
from tests.shells import Ran, Terminal

BODY = "# Third visit\n\nSleeps **well**; see [the scale](https://scales.example/phq).\n"


def her_own(practice: Terminal) -> str:
    """Return the id of the patient who has an account, and whom the clinician treats."""
    items = json.loads(practice.as_("patient", "patient", "find", "--json").out)["items"]
    return str(items[0]["id"])


def clinician(practice: Terminal, *arguments: str, typed: str = "") -> Ran:
    return practice.as_("clinician", *arguments, typed=typed)


def test_a_note_from_its_draft_to_what_the_patient_says_of_it(practice: Terminal) -> None:
    patient = her_own(practice)
    plant("Sleeps **well**")
    about = ("--about", "2026-01-15T10:30-05:00", "--title", "Third visit")
    drafted = clinician(practice, "note", "draft", patient, "--kind", "progress", *about, "--from", "-", typed=BODY)
    assert drafted.status == Status.OK, drafted.err
    note = drafted.out.strip()
    assert re.fullmatch(r"[0-9a-f-]{36}", note)
    (practice.folder / "note.md").write_text(f"{BODY}Voices: none.\n")
    at = (patient, note, "--version")
    assert clinician(practice, "note", "edit", *at, "1", "--from", "note.md").status == Status.OK
    signed = clinician(practice, "note", "sign", *at, "2")
    assert (signed.status, "version 3" in signed.err) == (Status.OK, True)
    again = clinician(practice, "note", "edit", *at, "3", "--title", "Another")
    assert (again.status, "write an addendum" in again.err) == (Status.REFUSED, True)
    shown = practice.as_("patient", "note", "show", patient, note)
    assert shown.status == Status.OK
    assert ("**" in shown.out, "Sleeps well" in shown.out, "\x1b" in shown.out) == (False, True, False)
    assert "https://scales.example/phq" in shown.out
    listed = json.loads(clinician(practice, "note", "list", patient, "--kind", "progress", "--json").out)["items"]
    (found,) = [one for one in listed if one["id"] == note]
    assert (found["status"], found["title"], "body" in found) == ("signed", "Third visit", False)

    asked = practice.as_(
        "patient", "amendment", "request", *at, "3", "--what", "-", "--why", "-", typed="The scale.\nIt was another.\n"
    )
    assert asked.status == Status.OK, asked.err
    request = asked.out.strip()
    assert request in clinician(practice, "amendment", "list").out
    denied = ("--ground", "accurate-and-complete", "--basis", "The form was signed.")
    assert clinician(practice, "amendment", "deny", patient, note, request, "--version", "4", *denied).status == 0
    said = practice.as_("patient", "amendment", "disagree", patient, note, request, "--version", "5", "--text", "No.")
    assert said.status == Status.OK
    assert "The patient disagrees: No." in clinician(practice, "note", "show", patient, note).out
    added = clinician(practice, "note", "addendum", patient, note, "--from", "-", "--sign", typed="It was GAD-7.")
    assert added.status == Status.OK
    assert added.out.strip() in clinician(practice, "note", "list", patient, "--addendum-to", note).out


def test_skeletons_are_printed_to_whoever_asks(terminal: Terminal) -> None:
    assert "mental-status: Mental status examination" in terminal.run("note", "templates").out
    assert terminal.run("note", "templates", "soap").out.startswith("## Subjective\n")
    wrong = terminal.run("note", "templates", "poem")
    assert (wrong.status, "soap, mental-status" in wrong.err) == (Status.USAGE, True)


def test_what_is_written_in_an_editor_is_for_its_owner_and_kept_if_it_cannot_be_stored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Tty())
    monkeypatch.setattr("clarity.cli.writing._MEMORY", tmp_path)
    monkeypatch.setenv("EDITOR", "sed -i s/well/badly/")
    monkeypatch.delenv("VISUAL", raising=False)

    def written() -> list[Path]:
        return list(tmp_path.glob("*/note.md"))

    async def write(error: Exception | None) -> str:
        async with edited("Sleeps well.") as text:
            (file,) = written()
            assert [stat.S_IMODE(one.stat().st_mode) for one in (file, file.parent)] == [0o600, 0o700]
            if error is not None:
                raise error
            return text

    assert asyncio.run(write(None)) == "Sleeps badly."
    assert not list(tmp_path.iterdir())
    with pytest.raises(Invalid):
        asyncio.run(write(Invalid("body", "is too long")))
    (file,) = tmp_path.glob("*/note.md")
    assert file.read_text() == "Sleeps badly."
    assert str(file) in capsys.readouterr().err


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("Café".encode("latin-1"))
    for source in (str(tmp_path / "latin"), str(tmp_path / "missing")):
        with pytest.raises(Invalid, match="body"):
            given_text(source)
