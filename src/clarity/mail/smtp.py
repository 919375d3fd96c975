"""A mail server that letters are handed to (RFC 5321)."""

import asyncio
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage

from clarity.application.ports import Letter
from clarity.domain.errors import Undeliverable
from clarity.mail.rendering import rendered

_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpPostman:
    """A `Postman` who hands letters to a mail server, over TLS that proves who the server is, or not at all.

    With `implicit_tls` the connection begins with TLS (RFC 8314, 3); otherwise STARTTLS is asked for, and a server that
    does not offer it gets nothing.
    """

    host: str
    port: int
    implicit_tls: bool
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    sender: str
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)

    async def send(self, letter: Letter) -> None:
        """Return once the server has taken the letter over. Raises `Undeliverable` if it has not."""
        message = rendered(letter, self.sender)
        try:
            await asyncio.to_thread(self._hand_over, message)
        except ssl.SSLError:
            raise Undeliverable("the mail server's certificate is not the one expected") from None
        except smtplib.SMTPResponseException as exc:
            raise Undeliverable(f"the mail server answered {exc.smtp_code}") from None
        except (smtplib.SMTPException, OSError, ValueError) as exc:
            # What it says may quote the address.
            raise Undeliverable(f"the mail server did not take the message ({type(exc).__name__})") from None

    def _hand_over(self, message: EmailMessage) -> None:
        with self._connected() as server:
            if self.user:
                server.login(self.user, self.password)
            server.send_message(message)

    def _connected(self) -> smtplib.SMTP:
        if self.implicit_tls:
            return smtplib.SMTP_SSL(self.host, self.port, timeout=_TIMEOUT_SECONDS, context=self.tls)
        server = smtplib.SMTP(self.host, self.port, timeout=_TIMEOUT_SECONDS)
        try:
            server.starttls(context=self.tls)
        except BaseException:
            server.close()
            raise
        return server
