"""The files of real form that tests read, which are no part of the repository."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parent.parent


def real_files(folder: str) -> Path:
    """Return a folder of the test data, or skip the test, visibly, if it is not here.

    `CLARITY_TEST_DATA` names where the data is; otherwise it is `../shared/data`, seen from the repository.
    """
    data = Path(os.environ.get("CLARITY_TEST_DATA") or _ROOT.parent / "shared" / "data")
    path = data / folder
    if not path.is_dir():
        pytest.skip(f"no test data in {path}; CLARITY_TEST_DATA says where it is")
    return path


def resources_in(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the FHIR resources in the files of a folder of test data, read without any of our code."""
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        if ".ndjson" in path.name:
            yield from map(json.loads, text.splitlines())
        else:
            yield from (entry["resource"] for entry in json.loads(text)["entry"])
