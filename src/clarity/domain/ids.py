"""The identifiers of things: UUIDv7 made by the application, never derived from what was put in."""

from typing import NewType
from uuid import UUID

AccountId = NewType("AccountId", UUID)
EventId = NewType("EventId", UUID)
PatientId = NewType("PatientId", UUID)
PractitionerId = NewType("PractitionerId", UUID)
RequestId = NewType("RequestId", UUID)
SessionId = NewType("SessionId", UUID)
