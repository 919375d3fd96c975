"""The identifiers of things: UUIDv7 made by the application, never derived from what was put in."""

from typing import NewType
from uuid import UUID

AccountId = NewType("AccountId", UUID)
BreakGlassId = NewType("BreakGlassId", UUID)
ConsentId = NewType("ConsentId", UUID)
CredentialId = NewType("CredentialId", UUID)
DisclosureId = NewType("DisclosureId", UUID)
DuplicateId = NewType("DuplicateId", UUID)
EventId = NewType("EventId", UUID)
MessageId = NewType("MessageId", UUID)
PatientId = NewType("PatientId", UUID)
PractitionerId = NewType("PractitionerId", UUID)
RequestId = NewType("RequestId", UUID)
SessionId = NewType("SessionId", UUID)
