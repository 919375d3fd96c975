"""Clarity: a clinical data backend in which every record is sealed, findable, decided, audited and provable."""

__version__ = "0.1.0"
