"""When a one-time link is good."""

from datetime import timedelta

import pytest

from clarity.domain.access import Reason
from clarity.domain.ids import AccountId
from clarity.domain.links import Link, LinkPurpose
from tests.builders import NOW, new_id

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("after", "used", "purpose", "reason"),
    [
        (timedelta(0), False, LinkPurpose.INVITATION, Reason.NONE),
        (HOUR - timedelta(microseconds=1), False, LinkPurpose.INVITATION, Reason.NONE),
        (HOUR, False, LinkPurpose.INVITATION, Reason.EXPIRED),
        (timedelta(0), True, LinkPurpose.INVITATION, Reason.REPLAYED),
        (timedelta(0), False, LinkPurpose.PASSWORD_RESET, Reason.NO_SUCH_RIGHT),
    ],
)
def test_a_link_is_good_once_for_a_time_and_for_one_purpose(
    after: timedelta, used: bool, purpose: LinkPurpose, reason: Reason
) -> None:
    link = Link(
        digest=b"x" * 32,
        account=AccountId(new_id()),
        purpose=LinkPurpose.INVITATION,
        created_at=NOW,
        expires_at=NOW + HOUR,
        used_at=NOW if used else None,
    )
    assert link.lapse_at(NOW + after, purpose) is reason
