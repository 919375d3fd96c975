"""The postman that `MAIL_URL` names."""

import ssl
from pathlib import Path
from urllib.parse import unquote, urlsplit

from clarity.application.ports import Postman
from clarity.domain.errors import Misconfigured
from clarity.mail.folder import FolderPostman
from clarity.mail.smtp import SmtpPostman

_SUBMISSION, _SUBMISSIONS = 587, 465


def open_postman(url: str, sender: str, root_certificate: Path | None = None) -> Postman:
    """Return who carries letters to `url`: smtp://, smtps:// or folder:PATH. Raises `Misconfigured`.

    The server's certificate has to be signed by an authority that this machine trusts, or by `root_certificate`.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "folder" and rest:
        return FolderPostman(Path(rest), sender)
    try:
        address = urlsplit(url)
        host, port = address.hostname, address.port
    except ValueError:
        host = port = None
        address = urlsplit("")
    if scheme not in {"smtp", "smtps"} or not host:
        raise Misconfigured("MAIL_URL: set smtps://USER:PASSWORD@HOST, smtp://… or folder:PATH")
    implicit = scheme == "smtps"
    return SmtpPostman(
        host=host,
        port=port or (_SUBMISSIONS if implicit else _SUBMISSION),
        implicit_tls=implicit,
        user=unquote(address.username or ""),
        password=unquote(address.password or ""),
        sender=sender,
        tls=_context(root_certificate),
    )


def _context(root_certificate: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=root_certificate)
    except OSError:
        raise Misconfigured("MAIL_SSL_ROOT_CERT: there is no certificate that can be read") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
