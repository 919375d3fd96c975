"""The command line as processes: asked at a terminal, interrupted, served."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import IO, Any

import pytest

from clarity.cli.endings import Status
from tests.bundles import a_bundle, a_fhir_patient
from tests.canaries import contents, hits
from tests.shells import PASSWORD, Terminal, started, surroundings

_SECONDS = 30


class Dialogue:
    """A command at a terminal that this test sees and types at."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self._screen, keyboard = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "clarity", *arguments],
            cwd=folder,
            env={**surroundings(), "TERM": "xterm", "COLUMNS": "100"},
            stdin=keyboard,
            stdout=keyboard,
            stderr=keyboard,
            start_new_session=True,
        )
        os.close(keyboard)
        self.shown = ""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + _SECONDS
        while text not in self.shown and time.monotonic() < deadline:
            self.shown += os.read(self._screen, 65_536).decode()
        self.shown = self.shown.partition(text)[2]

    def say(self, line: str) -> None:
        os.write(self._screen, f"{line}\n".encode())

    def ended(self) -> str:
        """Return what was shown until the command ended."""
        try:
            while more := os.read(self._screen, 65_536):
                self.shown += more.decode()
        except OSError:  # so the end of a terminal looks on Linux
            pass
        finally:
            os.close(self._screen)
        self.process.wait(_SECONDS)
        return self.shown.replace("\r\n", "\n")


def read_until(stream: IO[str], text: str) -> str:
    """Return the first line that has `text` in it."""
    return next(line for line in stream if text in line)


def test_a_password_is_asked_twice_and_not_shown(empty_practice: Terminal) -> None:
    asked = ("account", "add", "desk@example.org", "--role", "front-desk", "--name", "Desk")
    dialogue = Dialogue(*asked, folder=empty_practice.folder)
    for question, answer in (
        ("New password: ", PASSWORD),
        ("The same again: ", "something else entirely"),
        ("New password: ", PASSWORD),
        ("The same again: ", PASSWORD),
    ):
        dialogue.wait_for(question)
        dialogue.say(answer)
    shown = dialogue.ended()
    assert dialogue.process.returncode == Status.OK
    assert "can log in as front-desk" in shown
    assert PASSWORD not in shown
    assert empty_practice.run("patient", "find", "--as", "desk@example.org", typed=PASSWORD).status == Status.OK


def test_ctrl_c_at_a_question_ends_quietly(empty_practice: Terminal) -> None:
    dialogue = Dialogue("patient", "find", "--as", "desk@example.org", folder=empty_practice.folder)
    dialogue.wait_for("Password: ")
    dialogue.process.send_signal(signal.SIGINT)
    assert dialogue.ended().strip() == "clarity: interrupted"
    assert dialogue.process.returncode == Status.INTERRUPTED


def test_ctrl_c_while_it_works_ends_quietly_and_the_next_run_goes_on(terminal: Terminal) -> None:
    with started("demo", "--no-serve", "--patients", "3000", folder=terminal.folder) as process:
        deadline = time.monotonic() + _SECONDS
        while not terminal.patients() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=_SECONDS)
    assert process.returncode == Status.INTERRUPTED
    assert not out
    assert "Traceback" not in err
    assert terminal.run("demo", "--no-serve", "--patients", "20").status == Status.OK


def test_colours_and_paths_are_for_terminals(practice: Terminal) -> None:
    (practice.folder / "lovelace.json").write_text(json.dumps(a_bundle(a_fhir_patient(birthDate=None))))
    dialogue = Dialogue("import", "--show-paths", "lovelace.json", folder=practice.folder)
    assert "lovelace.json" in dialogue.ended()
    assert dialogue.process.returncode == Status.REFUSED
    dialogue = Dialogue("doctor", folder=practice.folder)
    assert "\x1b[32mok" in dialogue.ended()
    assert "\x1b" not in practice.run("doctor").out


def test_it_serves_until_it_is_told_to_stop(practice: Terminal) -> None:
    with started("serve", "--port", "0", folder=practice.folder) as process:
        assert process.stderr is not None
        address = re.search(r"http://127\.0\.0\.1:\d+", read_until(process.stderr, "Serving on"))
        assert address
        with urllib.request.urlopen(f"{address[0]}/ready", timeout=_SECONDS) as answer:
            ready = json.load(answer)
            assert "Server" not in answer.headers
        core = resource.prlimit(process.pid, resource.RLIMIT_CORE)
        taken = practice.run("serve", "--port", address[0].rpartition(":")[2])
        assert taken.status == Status.UNAVAILABLE
        assert "--port" in taken.err
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=_SECONDS)
    assert core == (0, 0)
    assert process.returncode == Status.OK
    assert (ready["status"], ready["checks"]["search"]) == ("ready", True)
    assert re.fullmatch(r"serving: fewer than 100 patients, .* s behind at most", ready["reasons"]["search"])
    assert "route=/ready status=200" in log
    assert "Traceback" not in log
    [snapshot] = practice.folder.rglob("search.snapshot")
    assert snapshot.stat().st_mode & 0o777 == 0o600


_CORES_HERE = Path("/proc/sys/kernel/core_pattern").read_text() == "core\n"
"""Whether a crash leaves a file where it happened, so that a test sees if it does not."""

_UNLIMITED = """
import ctypes, os
from clarity.cli import memory
memory.resource.setrlimit = lambda *_: None
if {kept}:
    memory.keep_to_memory()
os.write(2, b"%d" % ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
os.abort()
"""


@pytest.mark.parametrize("kept", [True, False])
def test_the_memory_of_a_command_is_handed_to_nobody_whatever_the_limit(tmp_path: Path, *, kept: bool) -> None:
    with _dumped("-c", _UNLIMITED.format(kept=kept), folder=tmp_path) as process:
        _, told = process.communicate(timeout=_SECONDS)
    assert process.returncode == -signal.SIGABRT
    assert told.strip() == str(int(not kept))
    assert [path.name for path in tmp_path.iterdir()] == (["core"] if _CORES_HERE and not kept else [])


@pytest.mark.soak
def test_a_server_that_crashes_leaves_nothing_of_a_patient_behind(practice: Terminal) -> None:
    process = _dumped("-m", "clarity", "serve", "--port", "0", folder=practice.folder)
    try:
        assert process.stderr is not None
        address = re.search(r"http://127\.0\.0\.1:\d+", read_until(process.stderr, "Serving on"))
        assert address
        names = _names_of_patients(address[0], "clinician@demo.example", practice)
        before = set(practice.folder.rglob("*"))
    finally:
        process.send_signal(signal.SIGABRT)
        process.communicate(timeout=_SECONDS)
    assert process.returncode == -signal.SIGABRT
    assert set(practice.folder.rglob("*")) <= before
    assert not hits(names, contents(practice.folder))


def _dumped(*arguments: str, folder: Path) -> "subprocess.Popen[str]":
    """Start a program of Python by somebody who wants core files of it."""
    return subprocess.Popen(
        ["/bin/sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh", sys.executable, *arguments],
        cwd=folder,
        env=surroundings(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _names_of_patients(address: str, email: str, practice: Terminal) -> set[str]:
    """Let somebody list patients over HTTP, and return their names."""

    def answer(path: str, body: object = None, **headers: str) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{address}/api/v1{path}", data, {"Content-Type": "application/json", **headers}
        )
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:
            return json.load(response)

    token = answer("/sessions", {"email": email, "password": practice.passwords()[email]})["access_token"]
    listed = answer("/patients", Authorization=f"Bearer {token}")["items"]
    names = {name["family"] for one in listed for name in one["names"]}
    assert names
    return names


def test_a_second_signal_ends_a_server_at_once(practice: Terminal) -> None:
    with started("serve", "--port", "0", folder=practice.folder) as process:
        assert process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)", read_until(process.stderr, "Serving on"))
        assert found
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=_SECONDS) as client:
            client.sendall(
                b"POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
            )
            assert client.recv(100).startswith(b"HTTP/1.1 100 ")
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=_SECONDS) == -signal.SIGTERM


@pytest.mark.parametrize("arguments", [("serve", "--port", "0"), ("demo", "--port", "0", "--patients", "1")])
def test_ctrl_c_ends_a_server_quietly(practice: Terminal, arguments: tuple[str, ...]) -> None:
    with started(*arguments, folder=practice.folder) as process:
        assert process.stderr is not None
        read_until(process.stderr, "Serving on")
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=_SECONDS)
    assert process.returncode == Status.INTERRUPTED
    assert "Traceback" not in log


def test_the_description_of_the_api_needs_nothing(terminal: Terminal) -> None:
    ran = terminal.run("openapi")
    assert ran.status == Status.OK
    assert "/api/v1/patients/search" in json.loads(ran.out)["paths"]
    assert not terminal.data.exists()
