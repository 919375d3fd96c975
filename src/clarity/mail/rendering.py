"""A letter in the form that mail servers and mail programs read (RFC 5322)."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from clarity.application.ports import Letter
from clarity.domain.errors import Undeliverable


def rendered(letter: Letter, sender: str) -> EmailMessage:
    """Return `letter` as plain text. Sent twice it has one Message-ID, by which a mailbox knows it for the same.

    Raises `Undeliverable` for an address that cannot stand in a header.
    """
    message = EmailMessage(policy=SMTP)
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    try:
        message["From"] = sender
        message["To"] = letter.to
        message["Subject"] = letter.subject
    except (ValueError, IndexError):
        raise Undeliverable from None  # the error would quote the address
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{letter.id}@{domain}>"
    # Nobody's holiday is to answer it (RFC 3834, 5).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.body)
    return message
