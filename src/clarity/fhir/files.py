"""Files to import: which there are, what is in them, and reading them without trusting them."""

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from hashlib import file_digest
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from clarity.application.imports import InputLabel
from clarity.domain.errors import Invalid

DOCUMENT_LIMIT = 256 * 1024 * 1024
LINE_LIMIT = 64 * 1024 * 1024
_PEEK = 64 * 1024
_GZIP = b"\x1f\x8b"
# Some editors on Windows begin UTF-8 with it; RFC 8259, 8.1 lets a reader ignore it.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SUFFIXES = (".json", ".json.gz", ".ndjson", ".ndjson.gz")
_LINES = (".ndjson", ".ndjson.gz")


class Form(Enum):
    """How a file holds resources: as one JSON document, or as one in each line."""

    DOCUMENT = auto()
    LINES = auto()


def list_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files meant by `paths`, each once: files as they are, folders as what is in them, sorted by name.

    In folders, only names that end in .json or .ndjson, with or without .gz, and do not begin with a full stop.
    """
    return list(dict.fromkeys(file for path in paths for file in _files_of(path)))


def label_of(position: int, path: Path) -> InputLabel:
    """Return how reports name a file."""
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()[:12]
    except OSError:
        digest = "unreadable"
    return InputLabel(position, digest, str(path))


def form_of(path: Path) -> Form:
    """Tell by its beginning how a file holds resources; the name decides where that says nothing.

    Raises `Invalid` if it cannot be read.
    """
    with _opened(path) as file:
        start = file.read(_PEEK)
        is_all = len(start) < _PEEK
    named = Form.LINES if path.name.endswith(_LINES) else Form.DOCUMENT
    first, newline, rest = start.removeprefix(_BYTE_ORDER_MARK).lstrip().partition(b"\n")
    if not newline and not is_all:
        return named
    try:
        head = msgspec.json.decode(first)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Form.DOCUMENT if first.strip() in {b"{", b"["} else named
    if rest.strip():
        return Form.LINES
    is_bundle = isinstance(head, dict) and head.get("resourceType") == "Bundle"
    return Form.DOCUMENT if is_bundle else named


def read_document(path: Path) -> bytes:
    """Return the content of a file, at most `DOCUMENT_LIMIT` bytes. Raises `Invalid` if there is more, or none."""
    with _opened(path) as file:
        document = file.read(DOCUMENT_LIMIT + 1)
    if len(document) > DOCUMENT_LIMIT:
        raise Invalid("", f"is larger than {DOCUMENT_LIMIT // 1024**2} MiB")
    if not document.strip():
        raise Invalid("", "is empty")
    return document.removeprefix(_BYTE_ORDER_MARK)


def read_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines of a file that are not blank, with their numbers from 1; `None` for one over `LINE_LIMIT`.

    Raises `Invalid` where the file cannot be read any further.
    """
    with _opened(path) as file:
        number = 0
        while line := file.readline(LINE_LIMIT + 1):
            number += 1
            if len(line) > LINE_LIMIT:
                while line and not line.endswith(b"\n"):
                    line = file.readline(LINE_LIMIT)
                yield number, None
            elif line.strip():
                yield number, line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line


def _files_of(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    try:
        children = sorted(path.iterdir())
    except OSError:
        yield path  # which then cannot be read, and is reported
        return
    for child in children:
        if child.name.startswith("."):
            continue
        if child.is_dir():
            if not child.is_symlink():
                yield from _files_of(child)
        elif child.name.endswith(_SUFFIXES):
            yield child


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, unpacked if its content is gzip. What cannot be read raises `Invalid`."""
    try:
        with path.open("rb") as raw:
            if raw.peek(len(_GZIP))[: len(_GZIP)] != _GZIP:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as unpacked, BufferedReader(unpacked) as file:
                yield cast("BinaryIO", file)
    except EOFError:
        raise Invalid("", "breaks off: the compressed data has no end") from None
    except (zlib.error, gzip.BadGzipFile):
        raise Invalid("", "is damaged: the compressed data does not unpack") from None
    except OSError as exc:
        raise Invalid("", f"cannot be read ({os.strerror(exc.errno) if exc.errno else 'input error'})") from None
