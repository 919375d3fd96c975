"""A made-up psychiatric practice, to develop and demonstrate with. Nobody in it exists."""
