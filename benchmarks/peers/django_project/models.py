"""A patient with an encrypted field for each thing that is known, and the audit log of what is done to them.

The package encrypts each value on its own by Fernet (AES-128 in CBC mode, HMAC-SHA-256) under one key for everybody.
What is encrypted has no index: nobody is found by it, and an MRN may be given out twice. The log notes what is
created, changed and deleted in the same transaction, with the values, which are not encrypted there; and what is read
where a view says so, which for a page nobody does.
"""

import uuid

from auditlog.registry import auditlog
from django.db import models
from encrypted_fields.fields import EncryptedCharField, EncryptedDateField, EncryptedEmailField, EncryptedTextField


class Patient(models.Model):
    """A patient."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    family = EncryptedCharField(max_length=200)
    given = EncryptedCharField(max_length=200)
    born = EncryptedDateField()
    gender = EncryptedCharField(max_length=20)
    status = models.CharField(max_length=20, db_index=True)
    phone = EncryptedCharField(max_length=40)
    email = EncryptedEmailField()
    line = EncryptedCharField(max_length=200)
    city = EncryptedCharField(max_length=100)
    state = EncryptedCharField(max_length=40)
    postal_code = EncryptedCharField(max_length=20)
    notes = EncryptedTextField(blank=True, null=True)  # an empty text is encrypted as none
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.UUIDField()
    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.UUIDField()
    version = models.IntegerField(default=1)

    def __str__(self) -> str:
        return f"Patient {self.id}"


class Identifier(models.Model):
    """A number somebody gave a patient: their MRN, or their social security number."""

    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="identifiers")
    kind = models.CharField(max_length=20)
    value = EncryptedCharField(max_length=200)

    def __str__(self) -> str:
        return f"{self.kind} of {self.patient_id}"


auditlog.register(Patient)
auditlog.register(Identifier)
