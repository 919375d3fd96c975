"""The life of a resident index: warm-up, shared refreshes, a lost horizon, an absent database, its snapshot."""

import asyncio
import re
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from clarity.application.ports.search import (
    Absence,
    Changes,
    ChangeStream,
    Found,
    Horizon,
    IndexChange,
    IndexEntry,
    IndexGap,
    Tally,
    instant_in_tally,
)
from clarity.application.ports.telemetry import IndexState
from clarity.domain.access import Action, Role, scope_of
from clarity.domain.errors import HorizonLost, TimedOut, TrailUnavailable, Unavailable, WarmingUp
from clarity.domain.patients import PatientQuery, PatientStatus
from clarity.domain.people import Gender
from clarity.domain.records import Label
from clarity.search.resident import ResidentSearch, roughly
from clarity.search.snapshot import Snapshot
from clarity.search.streaming import StreamingSearch
from clarity.security.frames import SealedFrames
from clarity.security.keyring import Keyring
from tests.builders import NOW, TODAY, a_keyring, an_actor, new_id
from tests.canaries import hits
from tests.practice import memory_practice

EVERYBODYS = scope_of(an_actor(Role.FRONT_DESK), Action.SEARCH, at=NOW)
PRACTICE = memory_practice()
SOON = 5.0


def an_entry(family: str, *, version: int = 1, patient: bytes | None = None, label: Label = Label.NORMAL) -> IndexEntry:
    return IndexEntry(
        id=patient or new_id().bytes,
        version=version,
        family=family,
        given="ada",
        names=(f"ada {family}",),
        born_first=700_000,
        born_last=700_000,
        status=PatientStatus.ACTIVE,
        label=label,
        gender=Gender.FEMALE,
        birth_sex=None,
        changed=0,
    )


@dataclass(slots=True)
class ScriptedFeed:
    """A `ChangeFeed` over a list of changes, which can be held up, be away, or be of another database."""

    log: list[IndexChange] = field(default_factory=list)
    store: bytes = b"store"
    asked: int = 0
    streamed: int = 0
    away: bool = False
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    most: int = 500

    def __post_init__(self) -> None:
        self.let_go.set()

    async def since(self, horizon: Horizon) -> Changes:
        self.asked += 1
        missing, now = self._missing(horizon), self._now()  # what is committed when the statement begins
        await self.let_go.wait()
        complete = len(missing) <= self.most
        return Changes(now, missing if complete else (), complete=complete)

    @asynccontextmanager
    async def all_since(self, horizon: Horizon | None) -> AsyncIterator[ChangeStream]:
        self.streamed += 1
        rows = self._missing(horizon) if horizon else list({row.id: row for row in self.log}.values())
        self._require_there()
        await self.let_go.wait()

        async def batches() -> AsyncIterator[Sequence[IndexChange]]:
            for start in range(0, len(rows), 2):
                yield rows[start : start + 2]

        yield ChangeStream(self._now(), batches())

    async def tally(self) -> Tally:
        self._require_there()
        rows = {row.id: row for row in self.log}
        there = [row for row in rows.values() if not isinstance(row, IndexGap)]
        instants = sum(instant_in_tally(row.changed) for row in there)
        return Tally(len(there), sum(row.version for row in there), instants)

    def _missing(self, horizon: Horizon) -> list[IndexChange]:
        self._require_there()
        if horizon.store != self.store or int(horizon.place) > len(self.log):
            raise HorizonLost
        return list({row.id: row for row in self.log[int(horizon.place) :]}.values())

    def _now(self) -> Horizon:
        return Horizon(self.store, str(len(self.log)))

    def _require_there(self) -> None:
        if self.away:
            raise Unavailable


@dataclass(slots=True)
class Runs:
    """What the trail was told."""

    counts: list[int] = field(default_factory=list)
    refusing: bool = False

    async def __call__(self, count: int) -> None:
        if self.refusing:
            raise TrailUnavailable
        self.counts.append(count)


@pytest.fixture
def feed() -> ScriptedFeed:
    return ScriptedFeed([an_entry("lovelace"), an_entry("hopper"), an_entry("noether")])


@pytest.fixture
def runs() -> Runs:
    return Runs()


Begin = Callable[..., ResidentSearch]


@pytest.fixture
def resident(feed: ScriptedFeed, runs: Runs) -> Begin:
    def begin(snapshot: Snapshot | None = None, *, idle: float = 60, patience: float = SOON) -> ResidentSearch:
        return ResidentSearch(
            feed,
            StreamingSearch(lambda: TODAY),
            runs,
            today=lambda: TODAY,
            snapshot=snapshot,
            idle_seconds=idle,
            patience_seconds=patience,
        )

    return begin


@dataclass(frozen=True, slots=True)
class Disk:
    """The file of a snapshot."""

    path: Path

    def has_it(self) -> bool:
        return self.path.exists()

    @property
    def mode(self) -> int:
        return stat.S_IMODE(self.path.stat().st_mode)

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()

    def write(self, content: bytes) -> None:
        self.path.write_bytes(content)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "search.snapshot")


@pytest.fixture
def snapshot(disk: Disk, keyring: Keyring) -> Snapshot:
    return Snapshot(SealedFrames(disk.path, keyring))


class SlowFrames(SealedFrames):
    """Frames that are written down to the last, and then are not there before somebody lets them."""

    def __init__(self, path: Path, keyring: Keyring) -> None:
        super().__init__(path, keyring)
        self.begun = self.written = 0
        self.let_go = threading.Semaphore(0)

    def write(self, count: int, frames: Iterable[bytes]) -> bool:
        self.begun += 1

        def slowly() -> Iterator[bytes]:
            yield from frames
            self.let_go.acquire(timeout=SOON)

        done = super().write(count, slowly())
        self.written += 1
        return done


async def found(search: ResidentSearch, name: str = "") -> Found:
    """Ask as somebody from whom no record but a guarded one is kept."""
    async with PRACTICE.reading() as work:
        return await search.find(work, EVERYBODYS, PatientQuery(name=name), after=None, at_most=10)


async def families(search: ResidentSearch, name: str = "") -> list[str]:
    return [key[0] for key in (await found(search, name)).keys]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not holds():
            await asyncio.sleep(0.001)


async def soon() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_search_waits_for_the_index_and_sees_all_that_was_committed_before(
    resident: Begin, feed: ScriptedFeed, runs: Runs
) -> None:
    async with resident().running() as search:
        assert await families(search) == ["hopper", "lovelace", "noether"]
        feed.log.append(an_entry("curie"))
        assert await families(search) == ["curie", "hopper", "lovelace", "noether"]
        feed.log.append(an_entry("curie-sklodowska", patient=feed.log[-1].id, version=2))
        assert await families(search, "curie") == ["curie-sklodowska"]
        feed.log.append(IndexGap(feed.log[-1].id, 3, Absence.DELETED))
        assert await families(search, "curie") == []
    assert runs.counts == [3]


async def test_searches_that_come_together_share_a_refresh_and_later_ones_the_next(
    resident: Begin, feed: ScriptedFeed
) -> None:
    async with resident().running() as search:
        await found(search)
        asked = feed.asked
        await asyncio.gather(*(found(search) for _ in range(100)))
        assert feed.asked == asked + 1
        feed.let_go.clear()
        early = asyncio.create_task(families(search))
        await until(lambda: feed.asked == asked + 2)
        feed.log.append(an_entry("curie"))  # after the statement of the first has begun
        late = [asyncio.create_task(families(search)) for _ in range(100)]
        await soon()
        assert feed.asked == asked + 2
        feed.let_go.set()
        assert "curie" not in await early
        assert all("curie" in names for names in await asyncio.gather(*late))
        assert feed.asked == asked + 3


async def test_many_changes_at_once_are_streamed(resident: Begin, feed: ScriptedFeed) -> None:
    feed.most = 3
    async with resident().running() as search:
        await found(search)
        feed.log += [an_entry(f"name{number}") for number in range(20)]
        assert (await found(search, "name")).count == 20
    assert feed.streamed == 2


async def test_while_there_is_no_index_there_is_no_answer_and_never_a_part_of_one(
    resident: Begin, feed: ScriptedFeed
) -> None:
    feed.let_go.clear()
    async with resident(patience=0.05).running() as search:
        with pytest.raises(WarmingUp) as refused:
            await found(search)
        assert refused.value.retry_after_seconds >= 1
        assert search.trouble == search.note == "building: 0 % of the patients"
        assert search.state is IndexState.BUILDING
        feed.let_go.set()
        await until(lambda: not search.trouble)
        assert (await found(search)).count == 3
        assert re.fullmatch(r"serving: fewer than 100 patients, \d MB, 0\.\d s behind at most", search.note)


@pytest.mark.parametrize(
    ("number", "said"),
    [(99, "fewer than 100"), (100, "about 100"), (1_549, "about 1500"), (1_000_001, "about 1000000")],
)
def test_nobody_learns_from_outside_that_somebody_came_or_went(number: int, said: str) -> None:
    assert roughly(number) == said


async def test_an_index_that_the_trail_does_not_know_of_answers_nobody(
    resident: Begin, feed: ScriptedFeed, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarity.search.resident._PAUSE_SECONDS", 0.01)
    runs.refusing = True
    async with resident(patience=0.05).running() as search:
        with pytest.raises(WarmingUp):
            await found(search)
        runs.refusing = False
        await until(lambda: not search.trouble)
        assert (await found(search)).count == 3
    assert (runs.counts, feed.streamed) == ([3], 1)


async def test_another_database_is_noticed_and_the_index_built_anew_while_it_serves(
    resident: Begin, feed: ScriptedFeed, runs: Runs
) -> None:
    async with resident().running() as search:
        await found(search)
        feed.store = b"other"
        feed.log = [an_entry("curie"), an_entry("meitner")]
        assert await families(search) == ["curie", "meitner"]
        assert search.rebuilds == 1
        assert search.trouble == ""
    assert runs.counts == [3, 2]


async def test_an_earlier_state_of_the_database_is_noticed(resident: Begin, feed: ScriptedFeed) -> None:
    async with resident().running() as search:
        await found(search)
        del feed.log[1:]
        assert await families(search) == ["lovelace"]
        assert search.rebuilds == 1


async def test_searches_wait_while_the_index_is_built_anew(resident: Begin, feed: ScriptedFeed) -> None:
    async with resident(patience=0.05).running() as search:
        await found(search)
        feed.store = b"other"
        with pytest.raises(WarmingUp):
            feed.let_go.clear()
            await found(search)
        assert search.state is IndexState.REBUILDING
        assert search.trouble == ""  # everything but searches goes on
        feed.let_go.set()
        await until(lambda: search.state is IndexState.SERVING)
        assert (await found(search)).count == 3


async def test_without_the_database_searches_fail_and_go_on_when_it_is_back(
    resident: Begin, feed: ScriptedFeed
) -> None:
    async with resident(idle=0.001).running() as search:
        await found(search)
        feed.away = True
        with pytest.raises(Unavailable) as refused:
            await found(search)
        assert not isinstance(refused.value, WarmingUp)
        await asyncio.sleep(0.01)
        feed.log.append(an_entry("curie"))
        feed.away = False
        assert (await found(search)).count == 4


async def test_a_connection_that_is_silent_keeps_searches_no_longer_than_it_may(
    resident: Begin, feed: ScriptedFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarity.search.resident._LONGEST_LOOK_SECONDS", 0.01)
    async with resident().running() as index:
        await found(index)
        feed.let_go.clear()
        with pytest.raises(TimedOut):
            await found(index)
        feed.let_go.set()
        assert (await found(index)).count == 3


async def test_an_idle_index_is_brought_up_to_date_by_itself(resident: Begin, feed: ScriptedFeed) -> None:
    async with resident(idle=0.001).running() as search:
        await found(search)
        refreshes = search.refreshes
        feed.log.append(an_entry("curie"))
        await until(lambda: search.patients == 4)
        assert search.refreshes > refreshes
        assert search.lag_seconds < 1


async def test_a_forgotten_name_leaves_memory_without_anybody_searching(resident: Begin, feed: ScriptedFeed) -> None:
    async with resident(idle=0.001).running() as search:
        index = await search.fresh()
        assert any(b"noether" in part.to_bytes() for part in index.parts())
        feed.log.append(IndexGap(feed.log[2].id, 1, Absence.FORGOTTEN))
        await until(lambda: search.patients == 2)
        await soon()
        assert not any(b"noether" in part.to_bytes() for part in index.parts())
        assert await families(search) == ["hopper", "lovelace"]


async def test_a_stopped_server_leaves_a_snapshot_that_the_next_starts_from(
    resident: Begin, feed: ScriptedFeed, runs: Runs, snapshot: Snapshot, disk: Disk
) -> None:
    async with resident(snapshot).running() as search:
        await found(search)
    assert disk.mode == 0o600
    streamed = feed.streamed
    feed.log.append(an_entry("curie"))  # while no server ran
    async with resident(snapshot).running() as search:
        assert await families(search) == ["curie", "hopper", "lovelace", "noether"]
    assert feed.streamed == streamed
    assert runs.counts == [3, 4]
    async with resident(snapshot).running() as search:
        assert len(await families(search)) == 4
    assert feed.streamed == streamed


async def test_the_snapshot_has_no_name_nor_the_beginning_of_one(
    resident: Begin, snapshot: Snapshot, disk: Disk
) -> None:
    async with resident(snapshot).running() as search:
        await found(search)
    names = {"lovelace", "hopper", "noether"}
    assert not hits(names | {name[:6] for name in names}, [disk.content])


def cut(content: bytes) -> bytes:
    return content[:-1]


def altered(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


def emptied(content: bytes) -> bytes:
    return content[:0]


def of_another_version(content: bytes) -> bytes:
    return content[:9] + b"\x07" + content[10:]


@pytest.mark.parametrize("harm", [cut, altered, emptied, of_another_version])
async def test_a_snapshot_that_was_harmed_is_thrown_away_and_made_anew(
    resident: Begin, feed: ScriptedFeed, snapshot: Snapshot, disk: Disk, harm: Callable[[bytes], bytes]
) -> None:
    async with resident(snapshot).running() as search:
        await found(search)
    disk.write(harm(disk.content))
    async with resident(snapshot).running() as search:
        assert (await found(search)).count == 3
    assert feed.streamed == 2
    async with resident(snapshot).running() as search:
        await found(search)
    assert feed.streamed == 2


async def test_a_snapshot_of_another_practice_is_thrown_away(
    resident: Begin, feed: ScriptedFeed, snapshot: Snapshot, disk: Disk
) -> None:
    async with resident(snapshot).running() as search:
        await found(search)
    async with resident(Snapshot(SealedFrames(disk.path, a_keyring()))).running() as search:
        assert (await found(search)).count == 3
    assert feed.streamed == 2


async def test_a_snapshot_with_names_folded_otherwise_is_thrown_away(
    resident: Begin, feed: ScriptedFeed, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with resident(snapshot).running() as search:
        await found(search)
    monkeypatch.setattr("clarity.search.snapshot.FOLDING", "another Unicode")
    assert await snapshot.load() is None
    async with resident(snapshot).running() as search:
        assert (await found(search)).count == 3
    assert feed.streamed == 2


async def test_a_snapshot_of_another_database_or_a_later_state_is_noticed(
    resident: Begin, feed: ScriptedFeed, snapshot: Snapshot
) -> None:
    async with resident(snapshot).running() as search:
        await found(search)
    del feed.log[2:]
    async with resident(snapshot).running() as search:
        assert await families(search) == ["hopper", "lovelace"]
    assert feed.streamed == 2
    feed.store = b"other"
    async with resident(snapshot).running() as search:
        assert await families(search) == ["hopper", "lovelace"]
    assert feed.streamed == 3


async def test_a_snapshot_that_the_table_does_not_bear_out_is_thrown_away(
    resident: Begin, feed: ScriptedFeed, snapshot: Snapshot
) -> None:
    async with resident(snapshot).running() as search:
        await found(search)
    # What was written past every trigger: the log has not moved on.
    feed.log[0] = an_entry("byron", patient=feed.log[0].id, version=2)
    async with resident(snapshot).running() as search:
        assert await families(search, "byron") == ["byron"]
    assert feed.streamed == 2


async def test_the_snapshot_goes_when_somebody_is_forgotten_and_comes_back_without_them(
    resident: Begin, feed: ScriptedFeed, snapshot: Snapshot, disk: Disk
) -> None:
    async with resident(snapshot).running() as search:
        await found(search)
        await until(disk.has_it)
        before = disk.content
        feed.log.append(IndexGap(feed.log[2].id, 1, Absence.FORGOTTEN))
        await found(search)
        assert not disk.has_it() or disk.content != before
        await until(disk.has_it)
    loaded = await snapshot.load()
    assert loaded is not None
    assert loaded[0].size == 2


async def test_nobody_who_was_forgotten_while_a_snapshot_was_written_is_in_it(
    resident: Begin, feed: ScriptedFeed, keyring: Keyring, disk: Disk
) -> None:
    frames = SlowFrames(disk.path, keyring)
    async with resident(Snapshot(frames)).running() as search:
        await found(search)
        await until(lambda: frames.begun == 1)
        feed.log.append(IndexGap(feed.log[2].id, 1, Absence.FORGOTTEN))
        await found(search)
        frames.let_go.release()
        await until(lambda: frames.begun == 2)
        assert not disk.has_it()
        frames.let_go.release()
        await until(lambda: frames.written == 2)
        loaded = await Snapshot(frames).load()
        assert loaded is not None
        assert loaded[0].size == 2


async def test_whoever_is_forgotten_again_leaves_the_snapshot_again(
    resident: Begin, feed: ScriptedFeed, snapshot: Snapshot, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarity.search.resident._CHANGES_PER_SNAPSHOT", 2)
    noether = feed.log[2]
    async with resident(snapshot, idle=0.001).running() as search:
        await until(disk.has_it)
        feed.log.append(IndexGap(noether.id, 1, Absence.FORGOTTEN))
        await found(search)
        await until(disk.has_it)
        before = disk.content
        feed.log += [noether, an_entry("byron")]
        await until(lambda: disk.content != before)
        monkeypatch.setattr("clarity.search.resident._CHANGES_PER_SNAPSHOT", 10_000)
        with_her = disk.content
        feed.log.append(IndexGap(noether.id, 1, Absence.FORGOTTEN))
        await found(search)
        assert not disk.has_it() or disk.content != with_her


async def test_whoever_was_forgotten_just_before_the_end_is_not_in_the_snapshot(
    resident: Begin, feed: ScriptedFeed, snapshot: Snapshot, disk: Disk
) -> None:
    async with resident(snapshot).running() as search:
        await found(search)
        await until(disk.has_it)
        feed.log.append(IndexGap(feed.log[2].id, 1, Absence.FORGOTTEN))
    loaded = await snapshot.load()
    assert loaded is not None
    assert loaded[0].size == 2


async def test_a_place_that_cannot_be_written_keeps_nobody_from_searching(
    resident: Begin, keyring: Keyring, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot = Snapshot(SealedFrames(tmp_path / "missing" / "search.snapshot", keyring))
    async with resident(snapshot).running() as search:
        assert (await found(search)).count == 3
    assert "was not written" in caplog.text


async def test_there_is_no_time_for_a_snapshot_that_takes_too_long(
    resident: Begin, snapshot: Snapshot, disk: Disk
) -> None:
    async with resident().running() as search:
        index = await search.fresh()
    assert not await snapshot.save(index, Horizon(b"", ""), within_seconds=0)
    assert not disk.has_it()
