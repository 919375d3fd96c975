"""HTTP: routes that turn requests into use-cases and their answers into JSON. No rule is decided here."""
