"""Letters as e-mail: to a folder, and to a mail server over TLS that proves who it is."""

import asyncio
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from clarity.application.ports import Letter
from clarity.domain.errors import Misconfigured, Undeliverable
from clarity.domain.ids import MessageId
from clarity.mail.addresses import open_postman
from clarity.mail.folder import FolderPostman
from clarity.mail.smtp import SmtpPostman
from tests.builders import new_id
from tests.certificates import Authority

SENDER = "Clarity <clarity@clinic.test>"


def a_letter(to: str = "grace@example.org") -> Letter:
    return Letter(
        id=MessageId(new_id()), to=to, subject="Your account — Zoë", body="Follow this:\n\nhttps://x.test/#t\n.\nÉnd\n"
    )


@dataclass(slots=True)
class MailServer:
    """As much of a mail server as takes letters, over STARTTLS if it `offers_tls` and has not begun with TLS."""

    certificate: Path
    implicit: bool = False
    offers_tls: bool = True
    answers: str = "250 taken"
    port: int = 0
    said: list[str] = field(default_factory=list)
    letters: list[bytes] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["MailServer"]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate)
        server = await asyncio.start_server(
            lambda reader, writer: self._serve(reader, writer, context),
            "127.0.0.1",
            0,
            ssl=context if self.implicit else None,
        )
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        try:
            await self._talk(reader, writer, context)
        except (ConnectionError, ssl.SSLError):
            return  # the client did not believe us
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
        writer.write(b"220 mail.test\r\n")
        while line := (await reader.readline()).decode().strip():
            self.said.append(line)
            verb = line.split()[0].upper()
            if verb == "EHLO":
                offer = "250-STARTTLS\r\n" if self.offers_tls and not self.implicit else ""
                writer.write(f"250-mail.test\r\n{offer}250-AUTH PLAIN\r\n250 SMTPUTF8\r\n".encode())
            elif verb == "STARTTLS" and self.offers_tls:
                writer.write(b"220 go\r\n")
                await writer.start_tls(context)
            elif verb == "STARTTLS":
                writer.write(b"502 no\r\n")
            elif verb == "AUTH":
                writer.write(b"235 welcome\r\n")
            elif verb == "RCPT":
                writer.write(f"{self.answers}\r\n".encode())
            elif verb == "DATA":
                writer.write(b"354 go on\r\n")
                self.letters.append(await reader.readuntil(b"\r\n.\r\n"))
                writer.write(b"250 taken\r\n")
            elif verb == "QUIT":
                writer.write(b"221 bye\r\n")
                return
            else:
                writer.write(b"250 ok\r\n")
            await writer.drain()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority.new()
    authority.write(tmp_path / "authority.pem")
    return authority


def postman_of(server: MailServer, tmp_path: Path, user: str = "") -> SmtpPostman:
    scheme = "smtps" if server.implicit else "smtp"
    url = f"{scheme}://{user}localhost:{server.port}"
    postman = open_postman(url, SENDER, tmp_path / "authority.pem")
    assert isinstance(postman, SmtpPostman)
    return postman


@pytest.mark.parametrize("implicit", [True, False])
async def test_a_letter_is_handed_over_by_tls(tmp_path: Path, authority: Authority, implicit: bool) -> None:
    certificate = authority.issue("localhost", tmp_path / "server.pem")
    async with MailServer(certificate, implicit=implicit).running() as server:
        letter = a_letter()
        await postman_of(server, tmp_path, "grace:p%40ss@").send(letter)
    assert server.said.index("AUTH PLAIN AGdyYWNlAHBAc3M=") > (-1 if implicit else server.said.index("STARTTLS"))
    (taken,) = server.letters
    message = message_from_bytes(taken.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n."), policy=default)
    assert (message["To"], message["From"], message["Subject"]) == (letter.to, SENDER, letter.subject)
    assert message["Message-ID"] == f"<{letter.id}@clinic.test>"
    assert message.get_content().replace("\r\n", "\n") == letter.body


async def test_a_server_that_cannot_prove_who_it_is_gets_nothing(tmp_path: Path, authority: Authority) -> None:
    certificates = (
        Authority.new("somebody else").issue("localhost", tmp_path / "foreign.pem"),
        authority.issue("other.test", tmp_path / "other.pem"),
    )
    for certificate in certificates:
        for implicit in (True, False):
            async with MailServer(certificate, implicit=implicit).running() as server:
                with pytest.raises(Undeliverable) as refusal:
                    await postman_of(server, tmp_path, "grace:secret@").send(a_letter())
            assert "certificate" in str(refusal.value)
            assert not [line for line in server.said if line.startswith(("AUTH", "MAIL", "RCPT", "DATA"))]


async def test_nothing_is_said_in_plaintext(tmp_path: Path, authority: Authority) -> None:
    certificate = authority.issue("localhost", tmp_path / "server.pem")
    async with MailServer(certificate, offers_tls=False).running() as server:
        with pytest.raises(Undeliverable):
            await postman_of(server, tmp_path, "grace:secret@").send(a_letter())
    assert {line.split()[0].upper() for line in server.said} <= {"EHLO", "QUIT"}


async def test_a_refusal_does_not_quote_the_address(tmp_path: Path, authority: Authority) -> None:
    certificate = authority.issue("localhost", tmp_path / "server.pem")
    async with MailServer(certificate, implicit=True, answers="550 no grace@example.org here").running() as server:
        with pytest.raises(Undeliverable) as refusal:
            await postman_of(server, tmp_path).send(a_letter())
    assert "grace" not in str(refusal.value)
    assert refusal.value.__cause__ is None


async def test_a_server_that_is_away_is_said_to_be(tmp_path: Path, authority: Authority) -> None:
    certificate = authority.issue("localhost", tmp_path / "server.pem")
    async with MailServer(certificate).running() as server:
        pass
    with pytest.raises(Undeliverable):
        await postman_of(server, tmp_path).send(a_letter())


async def test_a_folder_keeps_letters_that_only_their_owner_reads(tmp_path: Path) -> None:
    folder, letter = tmp_path / "data" / "outbox", a_letter()
    postman = FolderPostman(folder, SENDER)
    await postman.send(letter)
    await postman.send(letter)
    (file,) = folder.iterdir()
    assert file.name == f"{letter.id}.eml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert message_from_bytes(file.read_bytes(), policy=default)["To"] == letter.to


async def test_a_folder_that_cannot_be_written_to_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("a file stands here")
    with pytest.raises(Undeliverable):
        await FolderPostman(tmp_path / "outbox", SENDER).send(a_letter())


def test_an_address_smuggles_in_no_header(tmp_path: Path) -> None:
    with pytest.raises(Undeliverable) as refusal:
        asyncio.run(FolderPostman(tmp_path, SENDER).send(a_letter("grace@example.org\r\nBcc: eve@example.org")))
    assert "grace" not in str(refusal.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["http://mail.test", "smtp://", "smtp://[::1", "smtps://mail.test:port", "folder:", ""])
def test_what_names_no_mail_server_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(Misconfigured) as refusal:
        open_postman(url, SENDER)
    assert "mail.test" not in str(refusal.value)


def test_a_certificate_that_is_not_there_is_named_by_its_setting(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="MAIL_SSL_ROOT_CERT"):
        open_postman("smtps://mail.test", SENDER, tmp_path / "absent.pem")
