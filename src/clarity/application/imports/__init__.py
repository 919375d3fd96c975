"""Importing what other systems know: patients, practitioners, and who cares for whom."""

from clarity.application.imports.incoming import (
    BadInput,
    Caregivers,
    Incoming,
    IncomingPatient,
    IncomingPractitioner,
    IncomingSpecialty,
    IncomingTies,
    InputLabel,
    Inputs,
    Place,
)
from clarity.application.imports.report import ImportReport, Taken, Tally
from clarity.application.imports.service import ImportService, Progress

__all__ = [
    "BadInput",
    "Caregivers",
    "ImportReport",
    "ImportService",
    "Incoming",
    "IncomingPatient",
    "IncomingPractitioner",
    "IncomingSpecialty",
    "IncomingTies",
    "InputLabel",
    "Inputs",
    "Place",
    "Progress",
    "Taken",
    "Tally",
]
