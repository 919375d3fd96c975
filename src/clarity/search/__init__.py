"""Finding patients by what is sealed, without keeping anything about a name at rest."""
