"""The routes by which people enrol a second factor, renew their recovery codes and give it up."""

from typing import Annotated, Self

import segno
from pydantic import ConfigDict, Field
from starlette.exceptions import HTTPException

from clarity.api.dependencies import CurrentActor, EnrollingActor, SecondFactors
from clarity.api.problems import documented
from clarity.api.routing import router_of
from clarity.api.wire import Instant, Json, Received, Wire
from clarity.application.second_factors import Enrolment, SecondFactorState
from clarity.domain.errors import Conflict, Forbidden, NotFound, TooMany
from clarity.domain.ids import AccountId

router = router_of("me")
of_accounts = router_of("accounts")
_PATH = "/second-factor"
_BODY = documented(HTTPException(413), HTTPException(415), TooMany(60), Conflict(), Forbidden())
_RECOVERY_CODE = "K7QD-2MZX-PL4N-WV6T-AH3R-YE5S"


class PasswordIn(Received):
    """The password of the caller, again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "quiet ferns along the river"}]})

    password: Annotated[str, Field(max_length=1_000)]


class CodeIn(Received):
    """A code from the caller's second factor."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "492039"}, {"code": _RECOVERY_CODE}]})

    code: Annotated[str, Field(max_length=100)]
    """Six digits from the device or, except to confirm it, a recovery code. Each is good once."""


class SecondFactorOut(Wire):
    """How it stands with the caller's second factor."""

    required: bool
    """Whether the caller may do nothing but enrol one as long as there is none."""
    confirmed_at: Instant | None
    """Since when a code is asked for at each log-in; null if there is no second factor that counts."""
    recovery_codes: int
    """How many recovery codes are left."""

    @classmethod
    def of(cls, state: SecondFactorState) -> Self:
        """Return the shape of `state`."""
        return cls(required=state.required, confirmed_at=state.confirmed_at, recovery_codes=state.recovery_codes)


class EnrolmentOut(Wire):
    """What an authenticator takes in. It is shown this once."""

    secret: str
    """160 bits as base32, to be typed in: codes of six digits by HMAC-SHA-1, a new one every 30 seconds (RFC 6238)."""
    uri: str
    """The same as an `otpauth` address."""
    qr_code: str
    """The same as a picture to be scanned: an SVG as a data URI."""

    @classmethod
    def of(cls, enrolment: Enrolment) -> Self:
        """Return the shape of `enrolment`, with its picture."""
        picture = segno.make_qr(enrolment.uri, error="m")
        return cls(secret=enrolment.secret, uri=enrolment.uri, qr_code=picture.svg_data_uri(scale=4))


class RecoveryCodesOut(Wire):
    """Codes that take the place of the device, each once. They are shown this once."""

    recovery_codes: tuple[str, ...]


@router.get(_PATH, responses=documented(Forbidden()))
async def view_second_factor(actor: EnrollingActor, factors: SecondFactors) -> SecondFactorOut:
    """Show whether the caller has a second factor."""
    return SecondFactorOut.of(await factors.view(actor))


@router.post(_PATH, status_code=201, responses=_BODY)
async def enrol_second_factor(
    password: Json[PasswordIn], actor: EnrollingActor, factors: SecondFactors
) -> EnrolmentOut:
    """Get a secret for a device. It counts once it was confirmed with a code."""
    return EnrolmentOut.of(await factors.enrol(actor, password.password))


@router.post(f"{_PATH}/confirm", responses=_BODY)
async def confirm_second_factor(code: Json[CodeIn], actor: EnrollingActor, factors: SecondFactors) -> RecoveryCodesOut:
    """Let the second factor count, given a code from the device. Ends the caller's other sessions."""
    return RecoveryCodesOut(recovery_codes=await factors.confirm(actor, code.code))


@router.post(f"{_PATH}/recovery-codes", responses=_BODY)
async def renew_recovery_codes(code: Json[CodeIn], actor: CurrentActor, factors: SecondFactors) -> RecoveryCodesOut:
    """Get new recovery codes, given a code. The old ones are good for nothing any more."""
    return RecoveryCodesOut(recovery_codes=await factors.renew_recovery_codes(actor, code.code))


@router.post(f"{_PATH}/remove", status_code=204, responses=_BODY)
async def remove_second_factor(code: Json[CodeIn], actor: CurrentActor, factors: SecondFactors) -> None:
    """Give the second factor up, given a code. Ends the caller's other sessions."""
    await factors.remove(actor, code.code)


@of_accounts.delete("/{account_id}/second-factor", status_code=204, responses=documented(Forbidden(), NotFound()))
async def remove_second_factor_of_account(account_id: AccountId, actor: CurrentActor, factors: SecondFactors) -> None:
    """Take away the second factor of somebody who lost it, and end their sessions. For administrators."""
    await factors.remove_of(actor, account_id)
