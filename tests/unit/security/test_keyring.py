"""The keyring: what it opens, what it refuses, and what it remembers."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from clarity.domain.errors import CannotOpen, Misconfigured
from clarity.security.envelope import Place, generation_of
from clarity.security.hazmat import Aead, random_bytes
from clarity.security.keyring import Keyring, Purpose, WrappedKey, initialise
from clarity.security.keystore import FileKeyStore, StoredKey, associated_data
from clarity.security.roots.file import FileRoot

SUBJECT = UUID("018f0000-0000-7000-8000-000000000001")
SOMEBODY_ELSE = UUID("018f0000-0000-7000-8000-000000000002")
PLACE = Place(table=1, column=1, row=SUBJECT, subject=SUBJECT, version=1)
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@dataclass(frozen=True)
class EditedStore:
    """A key store that somebody wrote by hand."""

    keys: tuple[StoredKey, ...]
    name: str = "edited"

    def load(self) -> tuple[StoredKey, ...]:
        return self.keys

    def add(self, keys: object) -> None:
        raise AssertionError


def edited(
    store: FileKeyStore, purpose: Purpose, *, generation: int | None = None, wrapped: bytes | None = None
) -> EditedStore:
    def edit(key: StoredKey) -> StoredKey:
        return replace(key, generation=generation or key.generation, wrapped=wrapped or key.wrapped)

    return EditedStore(tuple(edit(key) if key.purpose is purpose else key for key in store.load()))


def test_every_purpose_has_a_key_of_its_own(keyring: Keyring) -> None:
    secrets = {keyring.secret(purpose) for purpose in Purpose}
    assert len(secrets) == len(Purpose)
    assert {len(secret) for secret in secrets} == {32}
    assert {keyring.current(purpose) for purpose in Purpose} == {1}


def test_the_same_keys_come_back_every_time(store: FileKeyStore, root: FileRoot) -> None:
    first, second = Keyring.open(store, root), Keyring.open(store, root)
    assert all(first.secret(purpose) == second.secret(purpose) for purpose in Purpose)


def test_no_key_stands_in_the_store(store: FileKeyStore, keyring: Keyring) -> None:
    wrapped = b"".join(key.wrapped for key in store.load())
    assert all(keyring.secret(purpose) not in wrapped for purpose in Purpose)


def test_keys_are_stamped_with_the_instant_and_the_root(tmp_path: Path, root: FileRoot) -> None:
    store = FileKeyStore(tmp_path / "new.json")
    initialise(store, root, now=NOON)
    assert {(key.generation, key.created_at, key.root) for key in store.load()} == {(1, NOON, root.id)}


def test_keys_are_made_once(store: FileKeyStore, root: FileRoot) -> None:
    before = store.path.read_bytes()
    with pytest.raises(Misconfigured, match="has keys already"):
        initialise(store, root)
    assert store.path.read_bytes() == before


def test_an_empty_store_says_what_to_do(tmp_path: Path, root: FileRoot) -> None:
    with pytest.raises(
        Misconfigured, match=r"empty\.json holds no keys; put it back, or make the first ones with `clarity keys init`"
    ):
        Keyring.open(FileKeyStore(tmp_path / "empty.json"), root)


def test_another_root_is_named_beside_the_right_one(store: FileKeyStore, root: FileRoot, tmp_path: Path) -> None:
    other = FileRoot.create(tmp_path / "other")
    with pytest.raises(Misconfigured) as caught:
        Keyring.open(store, other)
    assert str(caught.value) == (
        f"the key store {store.path} was made under root {root.id}, "
        f"but the root at {tmp_path / 'other'} is {other.id}; set KEY_ROOT to the right one"
    )


def test_missing_purposes_are_named(store: FileKeyStore, root: FileRoot) -> None:
    gone = {Purpose.INDEX, Purpose.CURSOR}
    rest = EditedStore(tuple(key for key in store.load() if key.purpose not in gone))
    with pytest.raises(Misconfigured, match="edited holds no key for index-root, cursor; restore it"):
        Keyring.open(rest, root)


def test_an_altered_key_is_named(store: FileKeyStore, root: FileRoot) -> None:
    altered = edited(store, Purpose.SYSTEM, wrapped=bytes(60))
    with pytest.raises(Misconfigured, match="the system key, generation 1, in the key store edited was altered"):
        Keyring.open(altered, root)


def test_a_key_does_not_pass_for_another_purpose(store: FileKeyStore, root: FileRoot) -> None:
    cursor_key = next(key for key in store.load() if key.purpose is Purpose.CURSOR)
    with pytest.raises(Misconfigured, match=r"the token key, generation 1, .* was altered"):
        Keyring.open(edited(store, Purpose.TOKEN, wrapped=cursor_key.wrapped), root)


def test_a_key_does_not_pass_for_another_generation(store: FileKeyStore, root: FileRoot) -> None:
    with pytest.raises(Misconfigured, match=r"the kek key, generation 2, .* was altered"):
        Keyring.open(edited(store, Purpose.KEK, generation=2), root)


def test_a_key_that_has_not_32_bytes_is_refused(store: FileKeyStore, root: FileRoot) -> None:
    short = root.wrap(bytes(16), associated_data(Purpose.KEK, 1))
    with pytest.raises(Misconfigured, match=r"the kek key, generation 1, .* was altered"):
        Keyring.open(edited(store, Purpose.KEK, wrapped=short), root)


def test_generations_are_chosen_by_number_and_the_newest_by_default(keyring: Keyring, rotated: Keyring) -> None:
    assert rotated.current(Purpose.INDEX) == 2
    assert rotated.generations(Purpose.INDEX) == (2, 1)
    assert rotated.secret(Purpose.INDEX) == rotated.secret(Purpose.INDEX, 2)
    assert rotated.secret(Purpose.INDEX, 1) == keyring.secret(Purpose.INDEX)
    with pytest.raises(CannotOpen):
        rotated.secret(Purpose.INDEX, 3)


def test_a_wrapped_data_key_opens_what_the_key_sealed(keyring: Keyring) -> None:
    wrapped, key = keyring.new_data_key(SUBJECT)
    assert (wrapped.subject, wrapped.generation, wrapped.kek_generation) == (SUBJECT, 1, 1)
    assert len(wrapped.wrapped) == 60
    assert keyring.unwrap(wrapped).open(PLACE, key.seal(PLACE, b"content")) == b"content"


def test_a_data_key_is_wrapped_under_the_kek_and_bound_to_its_subject(keyring: Keyring) -> None:
    """The format written out: who holds the KEK and the row can open the record without this code."""
    wrapped, key = keyring.new_data_key(SUBJECT, generation=3)
    associated = b"datakey1" + SUBJECT.bytes + b"\x00\x00\x00\x03" + b"\x00\x00\x00\x01"
    data_key = Aead(keyring.secret(Purpose.KEK)).decrypt(wrapped.wrapped, associated)
    assert len(data_key) == 32
    sealed = key.seal(PLACE, b"content")
    assert generation_of(sealed) == 3


def test_every_data_key_is_another(keyring: Keyring) -> None:
    first, second = keyring.new_data_key(SUBJECT)[1], keyring.new_data_key(SUBJECT)[1]
    with pytest.raises(CannotOpen):
        second.open(PLACE, first.seal(PLACE, b"content"))


@pytest.mark.parametrize("remembered", [False, True], ids=["first", "remembered"])
def test_a_wrapped_key_that_was_moved_or_altered_does_not_open(
    rotated: Keyring, keyring: Keyring, *, remembered: bool
) -> None:
    wrapped, _ = keyring.new_data_key(SUBJECT)
    if remembered:
        rotated.unwrap(wrapped)
    for changed in (
        replace(wrapped, subject=SOMEBODY_ELSE),
        replace(wrapped, generation=2),
        replace(wrapped, kek_generation=2),
        replace(wrapped, kek_generation=3),
        replace(wrapped, wrapped=b""),
        replace(wrapped, wrapped=bytes(60)),
    ):
        with pytest.raises(CannotOpen):
            rotated.unwrap(changed)


def test_a_remembered_key_does_not_open_for_altered_bytes(keyring: Keyring) -> None:
    """Whoever did not read the very row cannot use the key: so a destroyed key is dead at once."""
    wrapped, _ = keyring.new_data_key(SUBJECT)
    keyring.unwrap(wrapped)
    for position in range(len(wrapped.wrapped)):
        altered = bytearray(wrapped.wrapped)
        altered[position] ^= 1
        with pytest.raises(CannotOpen):
            keyring.unwrap(replace(wrapped, wrapped=bytes(altered)))
        with pytest.raises(CannotOpen):
            keyring.unwrap(replace(wrapped, wrapped=wrapped.wrapped[:position]))


def test_after_a_rotation_old_data_keys_open_and_new_ones_use_the_new_kek(keyring: Keyring, rotated: Keyring) -> None:
    old, key = keyring.new_data_key(SUBJECT)
    assert rotated.unwrap(old).open(PLACE, key.seal(PLACE, b"content")) == b"content"
    new, _ = rotated.new_data_key(SUBJECT, generation=2)
    assert new.kek_generation == 2
    with pytest.raises(CannotOpen):
        keyring.unwrap(new)


def test_once_its_kek_is_destroyed_a_data_key_is_gone(keyring: Keyring, rotated: Keyring) -> None:
    wrapped, _ = keyring.new_data_key(SUBJECT)
    secrets = {purpose: {2: rotated.secret(purpose, 2)} for purpose in Purpose}
    with pytest.raises(CannotOpen):
        Keyring(secrets).unwrap(wrapped)


def test_the_last_used_keys_are_remembered_and_no_more(store: FileKeyStore, root: FileRoot) -> None:
    keyring = Keyring.open(store, root, cache_size=2)
    one, two, three = (keyring.new_data_key(SUBJECT)[0] for _ in range(3))
    first, second = keyring.unwrap(one), keyring.unwrap(two)
    assert keyring.unwrap(replace(one)) is first
    keyring.unwrap(three)
    assert keyring.unwrap(one) is first
    assert keyring.unwrap(two) is not second


def test_keys_are_unwrapped_by_many_threads_at_once(store: FileKeyStore, root: FileRoot) -> None:
    keyring = Keyring.open(store, root, cache_size=4)
    made = [keyring.new_data_key(SUBJECT) for _ in range(16)]

    def opens(turn: int) -> bool:
        wrapped, key = made[turn % len(made)]
        return keyring.unwrap(wrapped).open(PLACE, key.seal(PLACE, b"content")) == b"content"

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(opens, range(2000)))


def test_the_system_vault_seals_under_the_newest_key_and_opens_older_ones(keyring: Keyring, rotated: Keyring) -> None:
    before = keyring.system_vault().seal(7, 1, b"before")
    after = rotated.system_vault().seal(7, 1, b"after")
    assert (generation_of(before), generation_of(after)) == (1, 2)
    assert rotated.system_vault().open(7, 1, before) == b"before"
    with pytest.raises(CannotOpen):
        keyring.system_vault().open(7, 1, after)


def test_nothing_secret_is_shown(keyring: Keyring) -> None:
    wrapped, key = keyring.new_data_key(SUBJECT)
    shown = repr(keyring) + repr(wrapped) + repr(key) + repr(keyring.system_vault())
    assert repr(keyring) == "<Keyring kek=1, index-root=1, system=1, audit-mac=1, token=1, cursor=1>"
    assert repr(wrapped) == f"WrappedKey(subject={SUBJECT!r}, generation=1, kek_generation=1)"
    for purpose in Purpose:
        assert keyring.secret(purpose).hex() not in shown
        assert repr(keyring.secret(purpose))[2:-1] not in shown


def test_a_wrapped_key_knows_another_by_all_its_parts() -> None:
    wrapped = WrappedKey(SUBJECT, 1, 1, random_bytes(60))
    assert wrapped == replace(wrapped)
    assert wrapped != replace(wrapped, wrapped=bytes(60))


def sealed_row(keyring: Keyring) -> tuple[bytes, int, bytes, int, int, bytes]:
    """Return what is opened of the row that a subject is: its id, version, seal, and its key with both generations."""
    wrapped, key = keyring.new_data_key(SUBJECT)
    sealed = key.seal(PLACE, b"Alcantar")
    return SUBJECT.bytes, PLACE.version, sealed, wrapped.generation, wrapped.kek_generation, wrapped.wrapped


def test_the_row_of_a_subject_opens_as_it_does_with_its_key(keyring: Keyring) -> None:
    before = replace(keyring.tally)
    opener = keyring.subject_opener(PLACE.table, PLACE.column)
    assert opener.open(*sealed_row(keyring)) == b"Alcantar"
    assert (keyring.tally.opens, keyring.tally.failures) == (before.opens + 1, before.failures)


def test_what_does_not_open_with_its_key_does_not_open_among_many_either(keyring: Keyring) -> None:
    opener = keyring.subject_opener(PLACE.table, PLACE.column)
    subject, version, sealed, generation, kek_generation, wrapped = row = sealed_row(keyring)
    altered = [(subject, version, flipped, *row[3:]) for flipped in each_byte_flipped(sealed)]
    altered += [(*row[:5], flipped) for flipped in each_byte_flipped(wrapped)]
    altered += [(subject, version, sealed[:length], *row[3:]) for length in (0, 6, 18, 40, len(sealed) - 1)]
    altered += [(*row[:5], b""), (SOMEBODY_ELSE.bytes, *row[1:]), (subject, version + 1, *row[2:])]
    altered += [(*row[:3], generation + 1, kek_generation, wrapped), (*row[:4], kek_generation + 1, wrapped)]
    before = keyring.tally.failures
    for one in altered:
        with pytest.raises(CannotOpen):
            opener.open(*one)
    assert keyring.tally.failures == before + len(altered)
    with pytest.raises(CannotOpen):
        keyring.subject_opener(PLACE.table, PLACE.column + 1).open(*row)


def each_byte_flipped(value: bytes) -> list[bytes]:
    """Return `value` with one bit of one byte altered, for every byte."""
    return [value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :] for place in range(len(value))]
