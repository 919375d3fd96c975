"""Patients: their tables, their mapping and their queries."""
