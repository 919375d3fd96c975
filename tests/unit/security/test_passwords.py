"""Passwords: that hashing them is slow, right and bounded."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.profiles import CHEAPEST

from clarity.application import ports
from clarity.domain.errors import CannotOpen, Unavailable, WrongCredentials
from clarity.security.passwords import Passwords

GOOD = "plum orbit walnut 7"


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(CHEAPEST)
    yield made
    made.close()


@pytest.fixture
def slow() -> Iterator[Passwords]:
    """Return the real thing, one at a time and nobody waiting."""
    made = Passwords(at_once=1, waiting=0)
    yield made
    made.close()


async def test_the_right_password_is_verified_and_no_other(passwords: Passwords) -> None:
    port: ports.Passwords = passwords
    encoded = await port.hash(GOOD)
    await port.verify(encoded, GOOD)
    for other in ("", GOOD + " ", GOOD[:-1], GOOD.upper(), GOOD + "\0", GOOD * 20):
        with pytest.raises(WrongCredentials) as caught:
            await port.verify(encoded, other)
        assert caught.value.__cause__ is None


async def test_the_whole_of_a_long_password_counts(passwords: Passwords) -> None:
    encoded = await passwords.hash("a1" * 200 + "x")
    with pytest.raises(WrongCredentials):
        await passwords.verify(encoded, "a1" * 200 + "y")


async def test_the_same_password_is_hashed_differently_each_time(passwords: Passwords) -> None:
    assert await passwords.hash(GOOD) != await passwords.hash(GOOD)


async def test_the_parameters_are_the_second_recommendation_of_rfc_9106(slow: Passwords) -> None:
    encoded = await slow.hash(GOOD)
    assert encoded.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    parameters = extract_parameters(encoded)
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)
    assert not slow.needs_rehash(encoded)


async def test_a_password_typed_in_another_composition_is_the_same(passwords: Passwords) -> None:
    encoded = await passwords.hash("caf\u00e9 orbit walnut")
    await passwords.verify(encoded, "cafe\u0301 orbit walnut")
    await passwords.verify(encoded, "ｃａｆ\u00e9 orbit walnut")


async def test_a_lone_surrogate_is_a_character_like_any_other(passwords: Passwords) -> None:
    encoded = await passwords.hash("\ud800" * 15)
    with pytest.raises(WrongCredentials):
        await passwords.verify(encoded, "\ud801" * 15)


async def test_a_hash_with_other_parameters_is_verified_and_due_for_another(passwords: Passwords) -> None:
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(GOOD)
    await passwords.verify(old, GOOD)
    assert passwords.needs_rehash(old)
    assert not passwords.needs_rehash(await passwords.hash(GOOD))


@pytest.mark.parametrize(
    "damaged", ["", "plaintext", "$argon2id$v=19$m=8,t=1,p=1$", "$argon2id$v=19$m=8,t=1,p=1$AAAA$!"]
)
async def test_a_damaged_hash_is_no_wrong_password(passwords: Passwords, damaged: str) -> None:
    with pytest.raises(CannotOpen) as caught:
        await passwords.verify(damaged, GOOD)
    assert caught.value.__cause__ is None


def test_what_is_no_hash_cannot_be_judged(passwords: Passwords) -> None:
    with pytest.raises(CannotOpen):
        passwords.needs_rehash("plaintext")


async def test_nobody_has_no_password(passwords: Passwords) -> None:
    for password in ("", GOOD):
        with pytest.raises(WrongCredentials):
            await passwords.verify_nobody(password)


async def test_nobody_takes_as_long_as_somebody(slow: Passwords) -> None:
    encoded = await slow.hash(GOOD)

    async def seconds(verify: Callable[[], Awaitable[None]]) -> float:
        started = time.perf_counter()
        with pytest.raises(WrongCredentials):
            await verify()
        return time.perf_counter() - started

    somebody = min([await seconds(lambda: slow.verify(encoded, "wrong")) for _ in range(3)])
    nobody = min([await seconds(lambda: slow.verify_nobody("wrong")) for _ in range(3)])
    assert 0.25 < nobody / somebody < 4  # without the hash, it would be thousands


async def test_who_comes_when_too_many_wait_is_sent_away(slow: Passwords) -> None:
    outcomes = await asyncio.gather(*(slow.hash(GOOD) for _ in range(3)), return_exceptions=True)
    assert isinstance(outcomes[0], str)
    assert [type(outcome) for outcome in outcomes[1:]] == [Unavailable, Unavailable]
    assert (await slow.hash(GOOD)).startswith("$argon2id$")


async def test_who_waits_is_served_in_time() -> None:
    passwords = Passwords(CHEAPEST, at_once=2, waiting=8)
    outcomes = await asyncio.gather(*(passwords.hash(GOOD) for _ in range(10)))
    assert len(set(outcomes)) == 10
    passwords.close()


async def test_the_event_loop_runs_on_while_a_password_is_hashed(slow: Passwords) -> None:
    hashing = asyncio.create_task(slow.hash(GOOD))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10


async def test_a_caller_who_leaves_keeps_the_place_until_the_hash_is_done(slow: Passwords) -> None:
    """Otherwise whoever opens and drops connections has as much memory in use as they like."""
    leaving = asyncio.create_task(slow.hash(GOOD))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    with pytest.raises(Unavailable):
        await slow.hash(GOOD)
    async with asyncio.timeout(30):
        while True:
            try:
                await slow.hash(GOOD)
                break
            except Unavailable:
                await asyncio.sleep(0.01)


async def test_after_closing_nothing_is_hashed(passwords: Passwords) -> None:
    passwords.close()
    with pytest.raises(Unavailable):
        await passwords.hash(GOOD)


def test_passwords_show_nothing(passwords: Passwords) -> None:
    assert "$" not in repr(passwords)
