"""Keys, and what is done with them: sealing, blind indexes, passwords, tokens, message authentication."""
