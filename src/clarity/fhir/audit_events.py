"""The trail as FHIR R4 AuditEvents, one to a line, after the Basic Audit Log Patterns of IHE (BALP 1.1.3).

BALP describes what succeeded and can be said in the terms of REST; that names its profile in `meta.profile`. What was
refused, logging in, breaking the glass, imports and exports are plain AuditEvents. BALP wants one AuditEvent for each
patient that a list showed, so a list becomes as many lines. Where it wants the address of the client or the text of a
query, it says that this is not told: the trail does not hold the one, and of the other only an HMAC.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from clarity.domain.access import ANONYMOUS, Action, Purpose
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.ids import PatientId
from clarity.domain.records import Resource
from clarity.domain.trail import TrailLine

PROFILES = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
MEDIA_TYPE = "application/fhir+ndjson"

_DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_EVENT_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_INTERACTION = "http://hl7.org/fhir/restful-interaction"
_ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ENTITY_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_TRANSACTION = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_ACTION = "urn:clarity:action"
_ROLE = "urn:clarity:role"

Json = dict[str, Any]


def _coding(system: str, code: str, display: str) -> Json:
    return {"system": system, "code": code, "display": display}


_REST = _coding(_EVENT_TYPE, "rest", "Restful Operation")
_SOURCE = _coding(_DICOM, "110153", "Source Role ID")
_DESTINATION = _coding(_DICOM, "110152", "Destination Role ID")
_APPLICATION = _coding(_DICOM, "110150", "Application")
_CUSTODIAN = _coding("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "custodian", "Custodian")
_RECIPIENT = _coding(_PARTICIPATION, "IRCP", "information recipient")
_AUTHOR = _coding(_PARTICIPATION, "AUT", "author (originator)")
_PERSON = _coding(_ENTITY_TYPE, "1", "Person")
_SYSTEM_OBJECT = _coding(_ENTITY_TYPE, "2", "System Object")
_OTHER = _coding(_ENTITY_TYPE, "4", "Other")
_REQUEST_ID = _coding(
    _TRANSACTION, "XrequestId", "transport specific unique identifier where http X-Request-Id is used"
)
_ROLES = {"patient": ("1", "Patient"), "data": ("4", "Domain Resource"), "query": ("24", "Query")}
_UNTOLD = {"extension": [{"url": _ABSENT, "valueCode": "unknown"}]}
_MASKED = {"extension": [{"url": _ABSENT, "valueCode": "masked"}]}
_UNRELIABLE = _coding("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "UNRELIABLE", "unreliable")


@dataclass(frozen=True, slots=True)
class _Pattern:
    """How some actions are written: `profile` is that of BALP for what succeeded, "" if there is none."""

    type: Json
    subtypes: tuple[Json, ...]
    action: str
    profile: str = ""
    client: Json = field(default_factory=lambda: _SOURCE)
    server: Json = field(default_factory=lambda: _DESTINATION)
    user: Json = field(default_factory=lambda: _AUTHOR)


def _rest(profile: str, action: str, *interactions: str, **agents: Json) -> _Pattern:
    subtypes = tuple(_coding(_INTERACTION, one, one) for one in interactions)
    return _Pattern(_REST, subtypes, action, profile, **agents)


def _dicom(code: str, display: str, action: str, *subtype: str) -> _Pattern:
    subtypes = (_coding(_DICOM, *subtype),) if subtype else ()
    return _Pattern(_coding(_DICOM, code, display), subtypes, action)


# Data flows from the server to the client only in a read; everywhere else it is the client that sends something.
_READ = _rest("Read", "R", "read", client=_DESTINATION, server=_SOURCE, user=_RECIPIENT)
_VERSIONS = _rest("Read", "R", "vread", "history-instance", client=_DESTINATION, server=_SOURCE, user=_RECIPIENT)
_QUERY = _rest("Query", "E", "search", user=_RECIPIENT)
_CREATE = _rest("Create", "C", "create")
_UPDATE = _rest("Update", "U", "update")
_DELETE = _rest("Delete", "D", "delete", client=_APPLICATION, server=_CUSTODIAN)
_OPERATION = _rest("", "E", "operation")
_LOG_IN = _dicom("110114", "User Authentication", "E", "110122", "Login")
_LOG_OUT = _dicom("110114", "User Authentication", "E", "110123", "Logout")
_CREDENTIAL = _dicom("110113", "Security Alert", "U", "110137", "User Security Attributes Changed")
_RIGHTS = _dicom("110113", "Security Alert", "U", "110136", "Security Roles Changed")
_EMERGENCY = _dicom("110113", "Security Alert", "E", "110127", "Emergency Override Started")
_IMPORT = _dicom("110107", "Import", "C")
_EXPORT = _dicom("110106", "Export", "R")
_TRAIL_READ = _dicom("110101", "Audit Log Used", "R")

PATTERNS: Mapping[Action, _Pattern] = {
    Action.VIEW: _READ,
    Action.LIST: _QUERY,
    Action.SEARCH: _QUERY,
    Action.SEARCH_BY_SSN: _QUERY,
    Action.VIEW_HISTORY: _VERSIONS,
    Action.REGISTER: _CREATE,
    Action.CHANGE: _UPDATE,
    Action.CHANGE_IDENTIFIERS: _UPDATE,
    Action.CHANGE_CARE_TEAM: _UPDATE,
    Action.DISCHARGE: _UPDATE,
    Action.DELETE: _DELETE,
    Action.IMPORT: _IMPORT,
    Action.LOG_IN: _LOG_IN,
    Action.LOG_OUT: _LOG_OUT,
    Action.REFRESH: _LOG_IN,
    Action.CHANGE_STATUS: _CREDENTIAL,
    Action.RESET_PASSWORD: _CREDENTIAL,
    Action.ACTIVATE: _CREDENTIAL,
    Action.CHANGE_ROLE: _RIGHTS,
    Action.CHANGE_PASSWORD: _CREDENTIAL,
    Action.REQUEST_RESET: _CREDENTIAL,
    Action.ENROL_SECOND_FACTOR: _CREDENTIAL,
    Action.REMOVE_SECOND_FACTOR: _CREDENTIAL,
    Action.REVOKE: _UPDATE,
    Action.REACTIVATE: _UPDATE,
    Action.RECORD_DEATH: _UPDATE,
    Action.CHANGE_LEGAL_HOLD: _UPDATE,
    Action.OVERRIDE_RETENTION: _DELETE,
    Action.BREAK_GLASS: _EMERGENCY,
    Action.REVIEW: _UPDATE,
    Action.MERGE: _UPDATE,
    Action.UNMERGE: _UPDATE,
    Action.WITHDRAW: _UPDATE,
    Action.VIEW_TOMBSTONE: _READ,
    Action.LIST_LEGAL_HOLDS: _QUERY,
    Action.EXPORT: _EXPORT,
    Action.ACCOUNT_FOR: _EXPORT,
    Action.REPORT: _OPERATION,
    Action.CANCEL: _UPDATE,
    Action.COMPLETE: _UPDATE,
    Action.SIGN: _UPDATE,
    Action.COSIGN: _UPDATE,
    Action.REQUEST_AMENDMENT: _UPDATE,
    Action.DECIDE_AMENDMENT: _UPDATE,
    Action.STOP: _UPDATE,
}
"""How each action is written."""

_PURPOSES = {
    Purpose.TREATMENT: ("TREAT", "treatment"),
    Purpose.OPERATIONS: ("HOPERAT", "healthcare operations"),
    Purpose.PATIENT_REQUEST: ("PATRQT", "patient requested"),
    Purpose.RESEARCH: ("HRESCH", "healthcare research"),
    Purpose.SYSTEM_ADMINISTRATION: ("HSYSADMIN", "health system administration"),
    Purpose.EMERGENCY: ("ETREAT", "Emergency Treatment"),
}
_OUTCOMES = {Outcome.SUCCEEDED: "0", Outcome.REFUSED: "4", Outcome.FAILED: "8", Outcome.UNKNOWN: "8"}
_FHIR_TYPES = {
    Resource.PATIENT: "Patient",
    Resource.RESEARCH_SUBJECT: "Patient",
    Resource.PRACTITIONER: "Practitioner",
    Resource.CONSENT: "Consent",
    Resource.APPOINTMENT: "Appointment",
    Resource.NOTE: "DocumentReference",
    Resource.PRESCRIPTION: "MedicationRequest",
    Resource.INTERACTION: "Communication",
}


@dataclass(frozen=True, slots=True)
class FhirTrail:
    """`TrailFormat` as newline-delimited JSON. `practice` is who recorded the events."""

    practice: str
    media_type: str = MEDIA_TYPE

    def head(self) -> bytes:
        """Return nothing: lines follow one another."""
        return b""

    def written(self, lines: Iterable[TrailLine]) -> bytes:
        """Return the AuditEvents of some events, a line each."""
        events = (one for line in lines for one in self.audit_events(line))
        return b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in events)

    def audit_events(self, line: TrailLine) -> Iterator[Json]:
        """Yield the AuditEvents for one event: one, or for a list of patients one for each."""
        event = line.entry.event
        if event is None:
            yield self._unreadable(line)
            return
        patients = _patients_of(event)
        for number, patient in enumerate(patients, start=1):
            suffix = f"-{number}" if len(patients) > 1 else ""
            yield self._audit_event(line, event, patient, f"{event.id}{suffix}")

    def _audit_event(self, line: TrailLine, event: AuditEvent, patient: PatientId | None, id_: str) -> Json:
        pattern = _TRAIL_READ if event.resource is Resource.AUDIT_EVENT else PATTERNS[event.action]
        succeeded = event.outcome is Outcome.SUCCEEDED
        profile = pattern.profile if succeeded and (pattern is _QUERY or len(event.ids) == 1) else ""
        what = _coding(_ACTION, event.action.name.lower(), event.action.title)
        audit_event: Json = {
            "resourceType": "AuditEvent",
            "id": id_,
            "meta": _meta(f"{PROFILES}{'Patient' if patient else ''}{profile}" if profile else "", line),
            "type": pattern.type,
            # A deletion may have no other subtype.
            "subtype": [*pattern.subtypes] if pattern is _DELETE else [*pattern.subtypes, what],
            "action": pattern.action,
            "recorded": event.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "outcome": _OUTCOMES[event.outcome],
            "purposeOfEvent": [{"coding": [_purpose(event.purpose)]}],
            "agent": list(self._agents(line, event, pattern)),
            "source": self._source(),
            "entity": list(_entities(event, patient, pattern)),
        }
        if not succeeded:
            audit_event["outcomeDesc"] = f"{event.outcome.name.lower()}: {event.reason.name.lower().replace('_', ' ')}"
        return {name: value for name, value in audit_event.items() if value}

    def _agents(self, line: TrailLine, event: AuditEvent, pattern: _Pattern) -> Iterator[Json]:
        is_known = event.actor != ANONYMOUS
        if is_known:
            who: Json = {"identifier": _urn(event.actor)}
            if name := line.name or event.operator:
                who["display"] = name
            user: Json = {
                "type": {"coding": [pattern.user]},
                "role": [{"coding": [_coding(_ROLE, event.role.title, event.role.title.replace("-", " "))]}],
                "who": who,
                "requestor": True,
                "purposeOfUse": [{"coding": [_purpose(event.purpose)]}],
            }
            yield user | ({"name": event.operator} if event.operator else {})
        client = "the command line" if event.operator else "a client of the HTTP interface"
        yield _machine(pattern.client, client, requestor=not is_known)
        yield _machine(pattern.server, self.practice)

    def _source(self) -> Json:
        kind = _coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4", "Application Server")
        return {"observer": {"display": self.practice}, "type": [kind]}

    def _unreadable(self, line: TrailLine) -> Json:
        """Return what is left of an event whose bytes are none: that there was one."""
        place = line.entry.place
        return {
            "resourceType": "AuditEvent",
            "id": str(place.id),
            "meta": _meta("", line),
            "type": _coding(_DICOM, "110113", "Security Alert"),
            "recorded": place.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "outcome": "12",
            "outcomeDesc": "the event was altered or taken away and cannot be read any more",
            "agent": [{"who": {"display": "unknown"}, "requestor": False}],
            "source": self._source(),
        }


def _patients_of(event: AuditEvent) -> Sequence[PatientId | None]:
    """Return whom an event is about; `None` stands for nobody in particular."""
    if event.patient is not None:
        return [event.patient]
    if event.resource in {Resource.PATIENT, Resource.RESEARCH_SUBJECT} and event.ids:
        return [PatientId(one) for one in event.ids]
    return [None]


def _meta(profile: str, line: TrailLine) -> Json:
    meta: Json = {"profile": [profile]} if profile else {}
    return meta if line.entry.verified else {**meta, "security": [_UNRELIABLE]}


def _purpose(purpose: Purpose) -> Json:
    return _coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", *_PURPOSES[purpose])


def _machine(type_: Json, name: str, *, requestor: bool = False) -> Json:
    return {"type": {"coding": [type_]}, "who": {"display": name}, "requestor": requestor, "network": _UNTOLD}


def _entities(event: AuditEvent, patient: PatientId | None, pattern: _Pattern) -> Iterator[Json]:
    yield {"what": {"identifier": {"value": str(event.request)}}, "type": _REQUEST_ID}
    if patient is not None:
        yield _entity(_PERSON, "patient", {"reference": f"Patient/{patient}"})
    if pattern is _QUERY:
        query = _entity(_SYSTEM_OBJECT, "query") | {"_query": _MASKED}
        yield query | ({"description": f"HMAC-SHA-256 {event.query_mac.hex()}"} if event.query_mac else {})
        if patient is not None and event.patient is None:
            return
    # Beside a query, no other entity may have its type.
    kind = _OTHER if pattern is _QUERY else _SYSTEM_OBJECT
    for record in event.ids:
        yield _entity(kind, "data", _what(event, record))


def _entity(type_: Json, role: str, what: Json | None = None) -> Json:
    entity: Json = {"type": type_, "role": _coding(_ENTITY_ROLE, *_ROLES[role])}
    return entity if what is None else {"what": what, **entity}


def _what(event: AuditEvent, record: UUID) -> Json:
    if (fhir_type := _FHIR_TYPES.get(event.resource)) is None:
        return {"identifier": _urn(record), "display": event.resource.title}
    version = f"/_history/{event.version}" if event.version else ""
    return {"reference": f"{fhir_type}/{record}{version}"}


def _urn(record: UUID) -> Json:
    return {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{record}"}
