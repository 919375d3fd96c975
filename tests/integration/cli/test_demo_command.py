"""The demonstration: made once, kept, completed when it was killed."""

import json
import re
import signal
import time
from collections import Counter

from clarity.cli.endings import Status
from clarity.domain.access import Action
from clarity.domain.records import Resource
from tests.shells import PATIENTS, Terminal, started


def test_it_makes_everything_for_its_owner_alone(practice: Terminal) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in practice.data.iterdir()}
    assert {"clarity.db", "demo-credentials", "keys.json", "root.key"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    done = Counter((event.action, event.resource) for event in practice.events())
    assert done[Action.REGISTER, Resource.PATIENT] == PATIENTS
    assert done[Action.REGISTER, Resource.ACCOUNT] == len(practice.passwords())


def test_a_second_run_keeps_data_and_passwords(practice: Terminal) -> None:
    before, events = practice.passwords(), len(practice.events())
    ran = practice.run("demo", "--no-serve", "--patients", str(PATIENTS))
    assert ran.status == Status.OK
    assert practice.passwords() == before
    assert all(password in ran.out for password in before.values())
    # Listing the accounts is all it does.
    assert {event.action for event in practice.events()[events:]} == {Action.LIST}


def test_what_it_tells_to_try_finds_somebody(practice: Terminal) -> None:
    told = practice.run("demo", "--no-serve", "--patients", str(PATIENTS)).out
    assert re.search(r"to try, once `.+ serve --port 8000` runs:", told)
    fragment = re.search(r"patient find (\w+) --as clinician@", told)
    assert fragment
    assert json.loads(practice.as_("clinician", "patient", "find", fragment[1], "--json").out)["items"]


def test_lost_passwords_are_replaced(practice: Terminal) -> None:
    old = practice.passwords()
    (practice.data / "demo-credentials").unlink()
    assert practice.run("demo", "--no-serve", "--patients", str(PATIENTS)).status == Status.OK
    assert not old.items() & practice.passwords().items()
    assert practice.as_("nurse", "patient", "find").status == Status.OK


def test_a_key_store_that_is_gone_is_not_made_anew(practice: Terminal) -> None:
    (practice.data / "keys.json").unlink()
    ran = practice.run("demo", "--no-serve")
    assert ran.status == Status.MISCONFIGURED
    assert not (practice.data / "keys.json").exists()


def test_it_is_for_development(terminal: Terminal) -> None:
    terminal.set(environment="production")
    ran = terminal.run("demo", "--no-serve")
    assert ran.status == Status.MISCONFIGURED
    assert not terminal.data.exists()


def test_a_run_that_was_killed_is_completed_by_the_next(terminal: Terminal) -> None:
    with started("demo", "--no-serve", "--patients", "120", folder=terminal.folder) as killed:
        deadline = time.monotonic() + 60
        while not terminal.patients() and time.monotonic() < deadline:
            time.sleep(0.005)
        killed.kill()
        killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert 0 < terminal.patients() < 120
    assert not (terminal.data / "demo-credentials").exists()
    assert terminal.run("demo", "--no-serve", "--patients", "120").status == Status.OK
    assert terminal.patients() == 120
    done = Counter((event.action, event.resource) for event in terminal.events())
    assert done[Action.REGISTER, Resource.PATIENT] == 120
    assert terminal.as_("clinician", "patient", "find").status == Status.OK
