"""What is written to people. The texts are fixed; a message fills their few places, none of which a patient has."""

from dataclasses import dataclass
from string import Template

from clarity.application.ports import Letter
from clarity.domain.accounts import Account
from clarity.domain.messages import MessageKind, Posted


@dataclass(frozen=True, slots=True)
class _Text:
    subject: str
    body: Template


def _text(subject: str, *paragraphs: str) -> _Text:
    return _Text(subject, Template("\n\n".join(paragraphs) + "\n"))


_IF_NOT_YOU = "If this was not you, tell whoever administers Clarity in your practice at once."
_TEXTS = {
    MessageKind.INVITATION: _text(
        "Your account in Clarity",
        "An account was made for you. To choose your password, follow this link:",
        "$link",
        "It works once, until $until. If it has expired, ask whoever administers Clarity in your practice for another.",
    ),
    MessageKind.PASSWORD_RESET: _text(
        "Choose a new password for Clarity",
        "Somebody, perhaps you, asked for a new password for your account. To choose one, follow this link:",
        "$link",
        "It works once, until $until. If you did not ask for it, do nothing: your password stays as it is.",
    ),
    MessageKind.PASSWORD_CHANGED: _text(
        "Your password for Clarity was changed",
        "The password of your account was changed, and other sessions were ended.",
        _IF_NOT_YOU,
    ),
    MessageKind.SECOND_FACTOR_CHANGED: _text(
        "Your second factor for Clarity was changed",
        "The second factor of your account, or its recovery codes, were changed.",
        _IF_NOT_YOU,
    ),
    MessageKind.BREAK_GLASS_ALERT: _text(
        "An emergency access waits for your review",
        "Somebody used emergency access (break-glass) to see a record, as $role, at $time.",
        "Review it in the queue of Clarity, under $id.",
    ),
    MessageKind.ACCESS_REPORT: _text(
        "The daily report of unusual access",
        "Clarity looked through the audit trail of $day for unusual access. It found: $findings.",
        "Read the report with `clarity audit report --day $day`, or at /api/v1/audit/report?day=$day. It is computed"
        " anew from the trail whenever it is read.",
    ),
}


def letter_of(posted: Posted, account: Account) -> Letter:
    """Return a message as it is sent to its account. Raises `KeyError` if it lacks what its text has a place for."""
    text = _TEXTS[posted.message.kind]
    body = text.body.substitute(posted.message.content)
    return Letter(id=posted.id, to=account.email, subject=text.subject, body=body)
