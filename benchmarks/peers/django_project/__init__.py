"""Django as a practice would set it up: encrypted fields, an audit log, and a REST framework before them."""
