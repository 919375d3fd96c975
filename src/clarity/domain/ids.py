"""The identifiers of things: UUIDv7 made by the application, never derived from what was put in."""

from typing import NewType
from uuid import UUID

AccountId = NewType("AccountId", UUID)
AmendmentId = NewType("AmendmentId", UUID)
AppointmentId = NewType("AppointmentId", UUID)
BreakGlassId = NewType("BreakGlassId", UUID)
ClosureId = NewType("ClosureId", UUID)
ConsentId = NewType("ConsentId", UUID)
CredentialId = NewType("CredentialId", UUID)
DisclosureId = NewType("DisclosureId", UUID)
DuplicateId = NewType("DuplicateId", UUID)
EventId = NewType("EventId", UUID)
InteractionId = NewType("InteractionId", UUID)
MessageId = NewType("MessageId", UUID)
NoteId = NewType("NoteId", UUID)
PatientId = NewType("PatientId", UUID)
PractitionerId = NewType("PractitionerId", UUID)
PrescriptionId = NewType("PrescriptionId", UUID)
RequestId = NewType("RequestId", UUID)
SeriesId = NewType("SeriesId", UUID)
SessionId = NewType("SessionId", UUID)
