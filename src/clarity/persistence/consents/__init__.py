"""The consents of patients: their table, and its repository."""
