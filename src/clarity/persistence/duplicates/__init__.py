"""Duplicates: their table, what notices them when a patient is written, and their repository."""
