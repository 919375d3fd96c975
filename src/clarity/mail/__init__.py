"""Letters as e-mail: to a mail server, or to a folder while developing."""
