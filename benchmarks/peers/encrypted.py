"""SQLAlchemy's ORM on columns that SQLAlchemy-Utils encrypts: the classes of `orm`, but for the types of their columns.

Each value is encrypted for itself under one key, by the engines that the package's documentation recommends: AES-GCM,
and for what must be found by its value and stay unique, AES by which the same value always becomes the same text. It
decides nothing, audits nothing, keeps no history and cannot change its key; status and times stand in plain.
"""

from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from typing import ClassVar

from sqlalchemy import Date, DateTime, String
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy_utils import StringEncryptedType
from sqlalchemy_utils.types.encrypted.encrypted_type import AesEngine, AesGcmEngine

from benchmarks.peers import Place
from benchmarks.peers.orm import IdentifierColumns, Number, OrmPeer, PatientColumns, Text, opened_with

_KEY = "the key of one measurement"


class Base(DeclarativeBase):
    """What the tables of this peer are gathered by."""

    type_annotation_map: ClassVar = {
        Text: StringEncryptedType(String, _KEY, AesGcmEngine),
        date: StringEncryptedType(Date, _KEY, AesGcmEngine),
        Number: StringEncryptedType(String, _KEY, AesEngine, "pkcs5"),
        datetime: DateTime(timezone=True),
    }


class Patient(PatientColumns, Base):
    """A patient with encrypted columns."""


class Identifier(IdentifierColumns, Base):
    """A number in an encrypted column."""


def opened(place: Place) -> AbstractAsyncContextManager[OrmPeer]:
    """Open this side."""
    return opened_with(place, Base, Patient, Identifier)
