"""FHIR R4, in and out: files become what the use-cases import, patients become resources."""
