"""Importing what other systems know: patients, practitioners, who cares for whom, and what stands in charts."""

from clarity.application.imports.incoming import (
    NOBODY,
    BadInput,
    Caregivers,
    Charted,
    Incoming,
    IncomingPatient,
    IncomingPractitioner,
    IncomingRecord,
    IncomingSpecialty,
    IncomingTies,
    InputLabel,
    Inputs,
    LeftOut,
    Place,
)
from clarity.application.imports.report import ImportReport, Taken, Tally
from clarity.application.imports.service import ImportService, Progress

__all__ = [
    "NOBODY",
    "BadInput",
    "Caregivers",
    "Charted",
    "ImportReport",
    "ImportService",
    "Incoming",
    "IncomingPatient",
    "IncomingPractitioner",
    "IncomingRecord",
    "IncomingSpecialty",
    "IncomingTies",
    "InputLabel",
    "Inputs",
    "LeftOut",
    "Place",
    "Progress",
    "Taken",
    "Tally",
]
