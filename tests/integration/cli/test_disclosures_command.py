"""Disclosures at the command line, as whoever logs in."""

import json
import re
import stat
from errno import ENOSPC
from pathlib import Path

import pytest

from clarity.cli.endings import Status
from clarity.cli.files import appearing, leave, require_free
from clarity.domain.errors import Conflict, Invalid
from tests.shells import Ran, Terminal, is_one_line

OF = (
    *("--to", "County Health Department", "--address", "426 SW Stark Street"),
    *("--what", "Diagnosis of a reportable disease", "--purpose", "Required by state law", "--means", "fax"),
)
ON = "2026-01-15"


def somebody(practice: Terminal) -> str:
    """Return the id of a patient of the clinician."""
    items = json.loads(practice.as_("clinician", "patient", "find", "--json").out)["items"]
    return str(next(item["id"] for item in items if "label" not in item or item["label"] == "normal"))


def officer(practice: Terminal, *arguments: str, typed: str = "") -> Ran:
    return practice.as_("compliance-officer", "disclosure", *arguments, typed=typed)


def test_a_disclosure_from_its_record_to_its_accounting(practice: Terminal) -> None:
    patient = somebody(practice)
    recorded = practice.as_("clinician", "disclosure", "record", patient, "--on", ON, *OF)
    assert recorded.status == Status.OK
    disclosure = recorded.out.strip()
    assert re.fullmatch(r"[0-9a-f-]{36}", disclosure)

    corrected = officer(
        practice, "correct", patient, disclosure, "--version", "1", "--to", "-", typed="State Registry\n"
    )
    assert (corrected.status, "version 2" in corrected.err) == (Status.OK, True)
    (listed,) = json.loads(officer(practice, "list", patient, "--json").out)["items"]
    assert (listed["recipient"], listed["version"], listed["status"]) == ("State Registry", 2, "accountable")

    file = practice.folder / "accounting.pdf"
    given = officer(practice, "account", patient, "--output", file.name)
    assert (given.status, given.out) == (Status.OK, "")
    assert file.read_bytes().startswith(b"%PDF-")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    refused = officer(practice, "account", patient, "--output", file.name)
    assert refused.status == Status.REFUSED
    assert is_one_line(refused.err.partition("Password")[0] or refused.err)
    assert file.read_bytes() == before
    words = ("--authority", "law-enforcement", "--by", "Det. Ortiz", "--stated-on", ON)
    too_long = officer(
        practice, "suspend", patient, disclosure, "--version", "2", *words, "--until", "2099-01-01", "--oral"
    )
    assert (too_long.status, "30 days" in too_long.err) == (Status.USAGE, True)
    lasting = ("--until", "2099-01-01", "--document", "Letter 7")
    assert officer(practice, "suspend", patient, disclosure, "--version", "2", *words, *lasting).status == Status.OK
    told = officer(practice, "account", patient)
    assert "nothing that has to be listed" in told.out
    assert "State Registry" not in told.out

    marked = officer(practice, "mistaken", patient, disclosure, "--version", "3", "--why", "Never sent.")
    assert marked.status == Status.OK
    assert "mistaken" in officer(practice, "list", patient).out


def test_what_a_command_does_not_understand_it_says_how_to_say(practice: Terminal) -> None:
    patient = "0199a0c2-41aa-7d02-8f7c-5e2b9c6d1a08"
    for arguments, hint in (
        (("record", patient, "--on", "soon", *OF), "2026-03-13"),
        (("record", patient, "--on", ON, *OF, "--frequency", "monthly"), "--last-on"),
        (("correct", patient, patient, "--version", "1"), "--what"),
        (("account", patient, "--format", "pdf"), "--output"),
        (("account", patient, "--output", "there.txt"), "--format"),
        (("account", patient, "--from", "1999-01-01"), "6 years"),
    ):
        ran = officer(practice, *arguments)
        assert (ran.status, hint in ran.err) == (Status.USAGE, True), (arguments, ran.err)
        assert not list(Path().glob("*.txt"))


def test_every_export_of_the_trail_is_accounted_for(practice: Terminal) -> None:
    exported = practice.as_("compliance-officer", "audit", "export", "--output", "trail.csv")
    assert exported.status == Status.OK
    found = json.loads(officer(practice, "reconcile", "--json").out)
    events = [one["event"] for one in found["unaccounted_exports"]]
    assert events
    for event in events:
        assert officer(practice, "explain", event, "--reason", "within-practice").status == Status.OK
    assert "Every export is accounted for" in officer(practice, "reconcile").err


def test_a_file_is_for_its_owner_alone_and_takes_nobodys_place(tmp_path: Path) -> None:
    path = tmp_path / "accounting.csv"
    leave(path, b"first")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "link.csv").symlink_to(tmp_path / "elsewhere.csv")
    for taken in (path, tmp_path / "link.csv"):
        with pytest.raises(Conflict):
            leave(taken, b"second")
        with pytest.raises(Conflict):
            require_free(taken)
    assert path.read_bytes() == b"first"
    with pytest.raises(Invalid):
        leave(tmp_path / "nowhere" / "accounting.csv", b"")


def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path, part = tmp_path / "trail.csv", tmp_path / "trail.csv.part"
    with appearing(path) as file:
        file.write(b"at,event")
        assert (stat.S_IMODE(part.stat().st_mode), path.exists()) == (0o600, False)
    assert (path.read_bytes(), part.exists()) == (b"at,event", False)
    for interrupted, raised in ((KeyboardInterrupt(), KeyboardInterrupt), (OSError(ENOSPC, "No space left"), Invalid)):
        with pytest.raises(raised), appearing(tmp_path / "other.csv"):
            raise interrupted
    with pytest.raises(Conflict), appearing(tmp_path / "late.csv"):
        leave(tmp_path / "late.csv", b"somebody else was faster")
    part.touch()
    path.unlink()
    with pytest.raises(Conflict), appearing(path):
        pytest.fail("another export runs")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["late.csv", "trail.csv.part"]
