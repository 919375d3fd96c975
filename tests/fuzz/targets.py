"""Everything that reads what others wrote, as functions of bytes: each ends well, or says what is wrong in our words.

A target raises nothing but what it finds: `Fault`, or what nobody foresaw. Hypothesis and Atheris call the same ones.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from pkgutil import walk_packages
from uuid import UUID

import pytest
from pydantic import ValidationError
from starlette.exceptions import HTTPException

import clarity
from clarity import api
from clarity.api.faults import faults_in
from clarity.api.patients.shapes import PatientPatchIn, RegistrationIn
from clarity.api.problems import described
from clarity.api.wire import Received
from clarity.application.imports import BadInput
from clarity.audit.encoding import decode, encode
from clarity.config import DatabaseAddress
from clarity.domain.dates import PartialDate
from clarity.domain.errors import CannotOpen, ClarityError, Invalid, Misconfigured, Unauthenticated
from clarity.domain.identifiers import IndexKind, as_compared, typed_npi
from clarity.domain.ids import AccountId, CredentialId, PatientId, RequestId, SessionId
from clarity.domain.names import fold, fragments_of
from clarity.domain.patients import Patient
from clarity.domain.records import Resource
from clarity.fhir.bundles import read_bundle
from clarity.fhir.circle import CHARTED, Reading
from clarity.fhir.inputs import FhirInputs
from clarity.fhir.strict import allow_all
from clarity.persistence.registry import number_of
from clarity.persistence.sealing import SealedMapper, SealedRecord
from clarity.security.cursors import Cursors
from clarity.security.envelope import Place, generation_of, pad, unpad
from clarity.security.hazmat import Aead
from clarity.security.links import LinkTokens
from clarity.security.machine_keys import MachineKeys
from clarity.security.normalise import NORMALISERS
from clarity.security.one_time_codes import OneTimeCodes
from clarity.security.tokens import AccessTokens
from clarity.security.vault import DataKey
from tests.api.clinic import WHOLE
from tests.builders import NOW, TODAY, a_keyring, new_id
from tests.bundles import LABEL
from tests.data import real_files, resources_in
from tests.fuzz.answers import texts_in
from tests.fuzz.commands import command, commands
from tests.unit.audit.events import an_event

_REQUEST = RequestId(UUID("019a9d5c-5f0a-7b11-9c36-2d7e41f0c5aa"))
_ROW = UUID(int=1)
# Shorter texts stand by chance in what is told of something else.
_LEAST_LENGTH = 12
_READ_TYPES = {"Patient", "Practitioner", "PractitionerRole", "CareTeam", "Encounter", *CHARTED}
_MOST_SEEDS = 40
_LONGEST_SEED = 20_000
_BETWEEN_FILES = b"\0\0\0"


class Fault(AssertionError):
    """Something that a target must not do."""


def require(holds: object, what: str) -> None:
    """Raise `Fault` unless something holds."""
    if not holds:
        raise Fault(what)


def fhir_document(data: bytes) -> None:
    """Read a bundle, or one resource."""
    unit = read_bundle(data, LABEL, Reading("elsewhere", new_id, allow_all, TODAY))
    if isinstance(unit, BadInput):
        _require_no_repetition(data, str(unit))


def fhir_files(data: bytes) -> None:
    """Read files of any form: the first byte says how they are called, `_BETWEEN_FILES` parts them."""
    with tempfile.TemporaryDirectory(prefix="clarity-fuzz-") as name:
        ending = (".json", ".ndjson", ".json.gz", ".ndjson.gz")[data[0] % 4 if data else 0]
        for number, part in enumerate(data[1:].split(_BETWEEN_FILES)[:3]):
            Path(name, f"{number}{ending}").write_bytes(part)
        inputs = FhirInputs([Path(name)], system="elsewhere", new_id=new_id, today=TODAY)
        for unit in inputs.units():
            if isinstance(unit, BadInput):
                for part in data[1:].split(_BETWEEN_FILES):
                    _require_no_repetition(part, unit.problem)


def audit_event(data: bytes) -> None:
    """Read an event, which has these bytes and no others."""
    with suppress(ClarityError):
        require(encode(decode(data)) == data, "an event has two encodings")


@cache
def _data_key() -> DataKey:
    return DataKey(UUID(int=7), 1, Aead(bytes(range(32))))


def sealed_value(data: bytes) -> None:
    """Open something that was never sealed."""
    place = Place(table=1, column=1, row=UUID(int=1), subject=UUID(int=7), version=1)
    with suppress(ClarityError):
        generation_of(data)
    with suppress(ClarityError):
        require(pad(unpad(data)) == data or len(data) != len(pad(unpad(data))), "padding is read in two ways")
    try:
        _data_key().open(place, data)
    except ClarityError:
        return
    raise Fault("what was never sealed opens")


def sealed_content(data: bytes) -> None:
    """Open what somebody sealed who has the key and another schema: a later version, or a mistake."""
    place = Place(
        table=number_of("patients")[0], column=number_of("patients")[1], row=_ROW, subject=UUID(int=7), version=1
    )
    key = _data_key()
    record = SealedRecord(
        id=_ROW,
        patient=PatientId(UUID(int=7)),
        version=1,
        resource=Resource.PATIENT,
        ciphertext=key.seal(place, data),
        wrapped=None,
        written_at=NOW,
        written_by=_ROW,
    )
    with suppress(CannotOpen):
        _mapper().open(key, record)


@cache
def _mapper() -> SealedMapper[Patient]:
    return SealedMapper(Patient, "patients", outside=frozenset({"id", "care_team", "version", "notice"}))


@cache
def _cursors() -> Cursors:
    return Cursors(a_keyring())


def cursor(data: bytes) -> None:
    """Open a cursor nobody made."""
    text = data.decode("utf-8", "surrogatepass") if _is_text(data) else data.decode("latin-1")
    try:
        _cursors().open(text, b"patients")
    except Invalid as exc:
        require(exc.field == "cursor", "the fault is not the cursor's")
        return
    raise Fault("a cursor nobody made opens")


@cache
def _tokens() -> AccessTokens:
    return AccessTokens(a_keyring())


def tokens(data: bytes) -> None:
    """Read tokens, credentials, links and codes nobody made."""
    text = data.decode("utf-8", "surrogatepass") if _is_text(data) else data.decode("latin-1")
    with suppress(Unauthenticated):
        _tokens().read(text, NOW)
        raise Fault("a token nobody made is read")
    with suppress(ClarityError):
        MachineKeys().read(text)
    _tokens().refresh_digest(text)
    LinkTokens().digest(text)
    codes = OneTimeCodes()
    with suppress(ClarityError):
        codes.step_of(codes.new_secret(), text, NOW)
    with suppress(ClarityError):
        codes.recovery_digest(text)


@cache
def shapes() -> tuple[type[Received], ...]:
    """Return every shape that clients send."""
    modules = [import_module(found.name) for found in walk_packages(api.__path__, "clarity.api.")]
    found = {
        shape
        for module in modules
        for shape in vars(module).values()
        if isinstance(shape, type) and issubclass(shape, Received) and shape.__module__ == module.__name__
    }
    return tuple(sorted(found, key=lambda shape: shape.__qualname__))


def shape_of_body(data: bytes) -> None:
    """Validate a body as one of the shapes that clients send: the first byte says which."""
    if not data:
        return
    shape, body = shapes()[data[0] % len(shapes())], data[1:]
    try:
        received = shape.model_validate_json(body)
    except ValidationError as exc:
        told = described_faults(exc)
    else:
        try:
            received.content()
            if isinstance(received, RegistrationIn):
                received.patient(PatientId(UUID(int=1)))
            told = ""
        except Invalid as exc:
            told = described(exc, _REQUEST).model_dump_json()
    _require_no_repetition(body, told)


def described_faults(error: ValidationError) -> str:
    """Return what a client is told of a body that is not valid."""
    faults = faults_in(error.errors())
    require(faults, "nothing is said about what is wrong")
    return " ".join(f"{fault.field}: {fault.rule}" for fault in faults)


@cache
def _patient() -> Patient:
    return RegistrationIn.model_validate_json(json.dumps(WHOLE)).patient(PatientId(UUID(int=1)))


def merge_patch(data: bytes) -> None:
    """Change a patient as a patch says; what comes out is a patient."""
    try:
        patch = PatientPatchIn.model_validate_json(data)
    except ValidationError as exc:
        _require_no_repetition(data, described_faults(exc))
        return
    try:
        changed = patch.changing(_patient())
    except Invalid as exc:
        _require_no_repetition(data, described(exc, _REQUEST).model_dump_json())
        return
    require(isinstance(changed, Patient), "a patch makes something else of a patient")


def problem(data: bytes) -> None:
    """Describe errors that hold anything: none of it is told but what is ours to tell."""
    text = data.decode("utf-8", "replace")
    for error in (RuntimeError(text), HTTPException(400 + len(text) % 100, text), ClarityError.__new__(ClarityError)):
        told = described(error, _REQUEST).model_dump_json()
        require(len(text) < _LEAST_LENGTH or text not in told, "a problem tells what was in an exception")


def texts(data: bytes) -> None:
    """Fold names, normalise identifiers and read dates: each again gives the same."""
    text = data.decode("utf-8", "surrogatepass") if _is_text(data) else data.decode("latin-1")
    folded = fold(text)
    require(fold(folded) == folded, "a folded name folds to another")
    fragments_of(text)
    require(as_compared(as_compared(text)) == as_compared(text), "what is compared differs from itself")
    for kind in IndexKind:
        normaliser = NORMALISERS[kind]
        once = normaliser.apply(text, "US")
        # A telephone number is stored as it was written, so its normal form is never normalised again.
        idempotent = kind is IndexKind.PHONE or not once or normaliser.apply(once, "US") == once
        require(idempotent, f"{kind.name} has two normal forms")
    with suppress(Invalid):
        typed_npi(text)
    try:
        day = PartialDate.parse(text)
    except Invalid:
        return
    require(PartialDate.parse(str(day)) == day, "a date is read as another")
    require(day.first <= day.last, "a date ends before it begins")


def database_url(data: bytes) -> None:
    """Take apart the address of a database; what is wrong with it is said without repeating it."""
    text = data.decode("utf-8", "replace")
    try:
        address = DatabaseAddress.parse(text)
    except (ValueError, Misconfigured) as exc:
        require(len(text) < _LEAST_LENGTH or text not in str(exc), "an error repeats the address")
        return
    require(len(address.password) < _LEAST_LENGTH or address.password not in repr(address), "shows a password")


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


@cache
def _own_words() -> str:
    """Return the source of this program: what stands in it may be told of anything."""
    return "\n".join(path.read_text() for path in Path(clarity.__file__).parent.rglob("*.py"))


def _require_no_repetition(sent: bytes, told: str) -> None:
    """Raise `Fault` if a long text that was sent stands in what is told."""
    if not told:
        return
    try:
        value = json.loads(sent)
    except (ValueError, RecursionError):
        return
    for text in texts_in(value):
        if len(text) >= _LEAST_LENGTH and text in told:
            require(text in _own_words(), "what was sent is repeated")


@dataclass(frozen=True, slots=True)
class Target:
    """A function to be called with bytes, and bytes it is meant for."""

    name: str
    function: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    for_atheris: bool = True
    """Whether it is quick, and does nothing but read."""


def _json(*values: object) -> Callable[[], Iterator[bytes]]:
    return lambda: (json.dumps(value).encode() for value in values)


def _bodies() -> Iterator[bytes]:
    for number, shape in enumerate(shapes()):
        extra = shape.model_config.get("json_schema_extra")
        examples = extra.get("examples") if isinstance(extra, dict) else None
        for example in examples if isinstance(examples, list) else ():
            yield bytes([number]) + json.dumps(example).encode()


def _resources() -> Iterator[bytes]:
    """Yield resources of the test data, singly and a few to a bundle."""
    try:
        folders = [real_files("synthea-r4"), real_files("bulk-r4-10-patients")]
    except pytest.skip.Exception:
        return
    for folder in folders:
        few = []
        for resource in islice(resources_in(folder), 3_000):
            encoded = json.dumps(resource).encode()
            if resource["resourceType"] in _READ_TYPES and len(encoded) < _LONGEST_SEED:
                few.append(resource)
                yield encoded
            if len(few) >= _MOST_SEEDS:
                break
        entries = [{"fullUrl": f"urn:uuid:{one['id']}", "resource": one} for one in few[:8]]
        yield json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()


def _lines() -> Iterator[bytes]:
    found = list(_resources())
    yield b"\1" + b"\n".join(found[:5])
    yield from (b"\0" + one for one in found[:10])


def _events() -> Iterator[bytes]:
    yield encode(an_event())


def _sealed() -> Iterator[bytes]:
    place = Place(table=1, column=1, row=UUID(int=2), subject=UUID(int=7), version=1)
    yield _data_key().seal(place, b"something")
    yield pad(b"something")


def _contents() -> Iterator[bytes]:
    yield _mapper().content(_patient())


def _cursors_made() -> Iterator[bytes]:
    yield _cursors().seal(b"somewhere", b"practitioners").encode()


def _tokens_made() -> Iterator[bytes]:
    yield AccessTokens(a_keyring()).issue(AccountId(_ROW), SessionId(_ROW), NOW).encode()
    yield MachineKeys().new(CredentialId(_ROW))[0].encode()
    yield LinkTokens().new().encode()
    yield OneTimeCodes().new_recovery_code().encode()
    yield b"123456"


def _written() -> Iterator[bytes]:
    for text in (
        "María José Ångström-Œuvre",
        "999-12-3456",
        "+1 617 555 0143",
        "Some.Body@Example.ORG",
        "1985-04-12",
        "MRN-204817",
        "1234567893",
        "王小明 İstanbul ﬁ",
    ):
        yield text.encode()


def _urls() -> Iterator[bytes]:
    yield b"postgresql+asyncpg://user:p%40ss@host:5432/name?sslmode=verify-full&sslrootcert=/a/b"
    yield b"postgres://user@%2Fvar%2Frun/name?connect_timeout=5"
    yield b"sqlite+aiosqlite:///folder/file.db"


TARGETS = {
    target.name: target
    for target in (
        Target("fhir-document", fhir_document, _resources),
        Target("fhir-files", fhir_files, _lines),
        Target("audit-event", audit_event, _events),
        Target("sealed-value", sealed_value, _sealed),
        Target("sealed-content", sealed_content, _contents),
        Target("cursor", cursor, _cursors_made),
        Target("tokens", tokens, _tokens_made),
        Target("shape-of-body", shape_of_body, _bodies),
        Target("merge-patch", merge_patch, _json({"notes": "Moved.", "birth_place": None}, WHOLE)),
        Target("problem", problem, _written),
        Target("texts", texts, _written),
        Target("database-url", database_url, _urls),
        Target("command-line", command, commands, for_atheris=False),
    )
}
