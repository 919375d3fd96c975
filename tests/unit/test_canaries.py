"""The watch that every test is under: what leaks fails, whatever way it takes."""

import logging
from pathlib import Path

import pytest

from clarity.domain.errors import Conflict
from tests.builders import a_name, a_patient
from tests.canaries import Watch, contents, hits, hits_in_files, plant, plant_content, planted, saw, watching

SECRET = "Zqcanaryweather"


def test_content_in_the_log_fails_a_test() -> None:
    with pytest.raises(AssertionError, match=r"the log.*Zqcanaryweather"), watching():
        a_patient(name=a_name(SECRET))
        logging.getLogger("clarity.somewhere").info("registered %s", SECRET.upper())


def test_content_in_the_log_of_a_library_fails_a_test_if_it_would_be_written() -> None:
    with watching():
        plant(SECRET)
        logging.getLogger("library").warning("cannot store %s", SECRET)
    with pytest.raises(AssertionError, match=SECRET), watching():
        plant(SECRET)
        message = f"cannot store {SECRET}"
        logging.getLogger("library").warning(message)


def test_content_in_an_error_fails_a_test_even_if_somebody_caught_it() -> None:
    with pytest.raises(AssertionError, match=f"an error.*{SECRET}"), watching():
        plant(SECRET)
        with pytest.raises(Conflict):
            raise Conflict(f"{SECRET} was discharged before")


@pytest.mark.parametrize("place", ["a refusal", "standard error", "metrics", "a span"])
def test_content_in_any_other_place_fails_a_test(place: str) -> None:
    with pytest.raises(AssertionError, match=place), watching():
        plant_content({"names": [{"family": SECRET, "use": "official"}]})
        saw(place, f'{{"detail": "{SECRET.lower()}"}}')


def test_what_is_nobodys_is_not_looked_for() -> None:
    with watching() as watch:
        plant_content({"gender": "unknown", "names": [{"family": SECRET, "given": ["Al"]}], "limit": 5})
        assert planted() == [SECRET]
        plant(*(f"{SECRET}-{number}" for number in range(500)))
        saw("the log", SECRET)
        assert len(watch.planted) == 100
    assert Watch().leaks() == set()


def test_what_stands_in_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "practice.db").write_bytes(b"\x00" * 9_000 + SECRET.encode() + b"\x00" * 9_000)
    assert hits([SECRET, "Lovelace"], contents(tmp_path), every_spelling=0) == {SECRET}
    assert hits_in_files([SECRET, "Lovelace"], tmp_path) == {SECRET}
