"""Clients that fill one store together, and shards that `merge` joins: each block once, one hash, nothing is lost."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import commands
import pytest
from commands import here
from refusals import refuses

from cluster import Serial
from estimators import TwoWayDID
from experiments.cli import LOCKED
from experiments.run import runner
from experiments.run.reporting import facts_of
from experiments.run.resume import Resume, read_log
from experiments.run.runner import run, schema_of
from experiments.study import Study
from results.store import BlockState, Shard, StoreLocked, ZarrStore, locked
from results.store.disk import STALE, check_own_folder
from results.store.merge import LOOK, TICKETS, Crew, Ticket, Tickets, done_in, merge, read_ticket, write_ticket
from sim.errors import BadInput
from studies import SHORT, quick_study

STUDY = quick_study(512)  # 16 blocks
DID = SHORT.replace("128", "512") + '[[estimators]]\nkind = "did"\n[grid]\neffect = [0.0, 0.02]\n'
SLOW = """
import time
from panelproof import TwoWayDID
class Slow(TwoWayDID):
    def solve(self, *given):
        time.sleep(0.02)
        return super().solve(*given)
"""


class Killed(BaseException):
    """What ends a client of a test, as a kill does: its tickets stay, and what it has done."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("reference") / "x.zarr"
    return hash_of(run(STUDY, store=path))


def hash_of(store: object) -> str:
    return store.content_hash()


def after(blocks: int) -> Callable[[object], None]:
    """A listener that ends its run after so many blocks; it is called once before the first."""
    seen = iter(range(blocks))

    def listen(_: object) -> None:
        if next(seen, None) is None:
            raise Killed

    return listen


def leave(store: Path, blocks: int, study: Study = STUDY) -> Path:
    """A client that is killed after some blocks, which stay in its part."""
    before = set(Crew(store).parts())
    with pytest.raises(Killed):
        run(study, store=store, together=True, listen=after(blocks))
    (part,) = set(Crew(store).parts()) - before
    assert len(done_in(part)) == blocks
    return part


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "x.zarr"


@pytest.fixture
def alive(store: Path) -> Iterator[Path]:
    """A part that a run holds, of a client that has done nothing yet."""
    part = leave(store, 0)
    with locked(part):
        yield part


def test_one_client_alone_fills_the_store_and_leaves_nothing_beside_it(store: Path, reference: str) -> None:
    assert hash_of(run(STUDY, store=store, together=True)) == reference
    assert sorted(path.name for path in store.parent.iterdir()) == ["x.zarr", "x.zarr.log.jsonl"]
    events = [line["event"] for line in read_log(store)]
    assert (events.count("commit"), events[-1]) == (16, "end")


def test_clients_share_the_blocks_and_all_return_the_whole_store(store: Path, reference: str) -> None:
    computed: list[list[tuple[int, int]]] = [[], [], []]
    begin = threading.Barrier(3)

    def client(number: int) -> str:
        def listen(step: runner.Progress) -> None:
            if step.cell >= 0:
                computed[number].append((step.cell, step.block))
                time.sleep(0.02)

        begin.wait()
        return hash_of(run(STUDY, store=store, together=True, listen=listen))

    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(client, range(3))) == {reference}
    done = [place for places in computed for place in places]
    assert len(done) == len(set(done)) == 16, "a block was computed twice"
    assert all(computed), "a client had nothing to do"
    assert not Crew(store).folder.exists()


def test_three_commands_of_which_one_is_killed_fill_the_store(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(SLOW)
    text = DID.replace('kind = "did"', 'kind = "own:Slow"')
    (tmp_path / "s.toml").write_text(text)
    words = ["experiments", "run", "s.toml", "--together", "--cluster"]
    places = (["serial"], ["serial"], ["local", "--workers", "1"])
    with (tmp_path / "said.txt").open("wb") as file:
        said = file.fileno()
        clients = [commands.Copy(tmp_path, [*words, *place], os.environ, said, said) for place in places]
        crew = Crew(tmp_path / "runs" / "s.zarr")
        deadline = time.monotonic() + 120
        while sum(len(done_in(part)) for part in crew.parts()) < 4:
            assert time.monotonic() < deadline, (tmp_path / "said.txt").read_text()
            time.sleep(0.05)
        clients[0].kill()
        codes = [client.wait() for client in clients]
    assert codes[1:] == [0, 0], (tmp_path / "said.txt").read_text()
    shutil.move(tmp_path / "runs" / "s.zarr", tmp_path / "together.zarr")
    assert commands.run(tmp_path, "run", "s.toml", "--cluster", "serial").returncode == 0
    assert hash_of(ZarrStore.open(tmp_path / "together.zarr")) == hash_of(ZarrStore.open(tmp_path / "runs" / "s.zarr"))
    assert not crew.folder.exists()


@pytest.mark.parametrize("together", [True, False])
def test_the_next_client_goes_on_where_killed_ones_stood(store: Path, reference: str, together: bool) -> None:
    for blocks in (5,) if together else (5, 7):
        leave(store, blocks)
    steps: list[runner.Progress] = []
    assert hash_of(run(STUDY, store=store, together=together, listen=steps.append)) == reference
    assert sum(step.cell >= 0 for step in steps) == 16 - (5 if together else 12), "what was there was computed again"
    assert max(step.blocks for step in steps) == 16
    assert not Crew(store).folder.exists()


def test_clients_wait_for_the_last_and_take_over_when_it_ends(store: Path, reference: str) -> None:
    part, said = leave(store, 2), list[str]()
    tickets = [read_ticket(path) for path in (part.parent / TICKETS).iterdir()]
    assert Ticket(part.name, done=False) in tickets, "no lot was on its way"
    with ThreadPoolExecutor(1) as pool:
        with locked(part):
            waiting = pool.submit(run, STUDY, store=store, together=True, tell=said.append)
            deadline = time.monotonic() + 60
            while not any("waits" in line for line in said):
                assert time.monotonic() < deadline
                assert not waiting.done()
                time.sleep(0.05)
            time.sleep(2.5 * LOOK)
            assert not store.exists()
        assert hash_of(waiting.result(60)) == reference
    assert sum("waits" in line for line in said) == 1


def test_more_replications_leave_what_the_store_has(store: Path) -> None:
    run(STUDY.resized(replications=256), store=store)
    steps: list[runner.Progress] = []
    grown = run(STUDY, store=store, together=True, listen=steps.append)
    assert sum(step.cell >= 0 for step in steps) == 8
    alone = run(STUDY, store=store.with_name("alone.zarr"))
    assert hash_of(grown) == hash_of(alone)
    again = run(STUDY.resized(replications=256), store=store, together=True)
    assert hash_of(again) == hash_of(alone), "the store has more replications than were asked for"


def test_a_damaged_block_of_a_client_is_computed(store: Path, reference: str) -> None:
    part = leave(store, 6)
    chunk = next(path for path in (part / "did" / "inference").glob("c.*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-3])
    steps: list[runner.Progress] = []
    assert hash_of(run(STUDY, store=store, listen=steps.append)) == reference
    assert sum(step.cell >= 0 for step in steps) == 16 - 5


def test_other_bytes_for_one_block_are_refused_and_nothing_is_lost(store: Path) -> None:
    first, second = leave(store, 6), leave(store, 3)
    place = min(done_in(first))
    other = ZarrStore(second, "a")
    block = ZarrStore.open(first).sound(*place)
    changed = replace(block.estimates["did"], estimate=block.estimates["did"].estimate + 1e-12)
    other.put(*place, replace(block, estimates={"did": changed}), 1)
    refuses(r"other bytes than in .*\.parts", lambda: run(STUDY, store=store))
    assert done_in(first)
    assert done_in(second)


def test_a_run_alone_beside_living_clients_is_refused(alive: Path, store: Path) -> None:
    with pytest.raises(StoreLocked, match=r"a client fills .* together; say --together to help"):
        run(STUDY, store=store)
    assert not store.exists()
    (store.parent / "s.toml").write_text(DID)
    found = commands.run(store.parent, "run", "s.toml", "--store", store, "--cluster", "serial", "--dry-run")
    assert (found.returncode, "say --together to help" in found.stderr) == (LOCKED, True)
    assert alive.exists()


def test_what_cannot_be_filled_together_is_refused(store: Path) -> None:
    for given, words in (
        ({"store": None}, "in a folder alone"),
        ({"store": "s3://bucket/x.zarr"}, "in a folder alone"),
        ({"plan": Resume(shard=Shard(1, 2))}, "--together beside --shard"),
        ({"plan": Resume(retry_failed=True)}, "--together beside --retry failed"),
        ({"until": "bias:did:1"}, "--together beside --until"),
        ({"shuffle": 3}, "--together beside shuffle"),
    ):
        refuses(words, lambda given=given: run(STUDY, **({"store": store} | given), together=True))
    assert list(store.parent.iterdir()) == []


def test_another_study_or_size_is_refused(store: Path) -> None:
    leave(store, 2)
    before = sorted(Crew(store).folder.rglob("*"))
    with pytest.raises(BadInput, match="another client computes 512 replications a cell, this one 256"):
        run(STUDY.resized(replications=256), store=store, together=True)
    refuses("seed was 11, is now 12", lambda: run(quick_study(512, seed=12), store=store, together=True))
    assert sorted(Crew(store).folder.rglob("*")) == before
    wider = replace(STUDY, grid=(("effect", (0.0, 0.02, 0.03)),))
    run(STUDY, store=store)
    refuses("must grow by cells or estimators first", lambda: run(wider, store=store, together=True))


def test_blocks_of_other_code_are_refused_as_in_a_resume(store: Path) -> None:
    part = ZarrStore(leave(store, 2), "a")
    (origin,) = part.noted("origins")
    part.note("origins", [origin | {"facts": origin["facts"] | {"python": "3.99"}}])
    for together in (True, False):
        refuses(r"python .* instead of 3\.99.*--accept-code-change|2 environments",
                lambda together=together: run(STUDY, store=store, together=together))  # fmt: skip
    assert done_in(Path(str(part.path)))
    kept = run(STUDY, store=store, together=True, plan=Resume(accept_code_change=True))
    assert sorted(origin.blocks for origin in kept.environments) == [2, 14]


class Poison(Serial):
    """Blocks of cell 1 from the third on raise."""

    tried = 0

    def run(self, function, jobs, careful=None):  # type: ignore[no-untyped-def]
        for outcome in super().run(function, jobs, careful):
            bad = outcome.job.cell == 1 and outcome.job.index > 2
            Poison.tried += bad
            yield replace(outcome, result=None, error=RuntimeError("cannot be drawn")) if bad else outcome


def test_blocks_that_cannot_be_computed_are_tried_once(store: Path) -> None:
    Poison.tried = 0
    kept = run(STUDY, store=store, together=True, executor=Poison())
    assert int((kept.states == BlockState.POISONED).sum()) == Poison.tried == 5
    assert "cannot be drawn" in next(iter(kept.tracebacks.values()))


def test_the_folder_of_parts_must_be_our_own(store: Path) -> None:
    target, crew = store.parent / "elsewhere", Crew(store)
    target.mkdir()
    crew.folder.symlink_to(target)
    for together in (True, False):
        refuses(
            "is a link, which is not followed", lambda together=together: run(STUDY, store=store, together=together)
        )
    assert list(target.iterdir()) == []
    crew.folder.unlink()
    crew.folder.mkdir()
    with mock.patch("os.geteuid", return_value=os.geteuid() + 1):
        refuses(f"belongs to user {os.getuid()}", crew.new_part)


def test_only_its_owner_enters_the_folder_of_parts(store: Path) -> None:
    leave(store, 1)
    assert Crew(store).folder.stat().st_mode & 0o777 == 0o700


def tickets_of(part: Path, places: list[tuple[int, int]]) -> Tickets:
    return Tickets(Crew(part.parent.with_name("x.zarr")), part, places, places, lambda _: None)


def test_a_ticket_that_says_nothing_is_left_for_a_while(store: Path) -> None:
    crew = Crew(store)
    places = [(0, index) for index in range(3)]
    own = tickets_of(crew.new_part(), places)
    (crew.folder / TICKETS / "1").touch()
    assert list(own._free()) == [(0, 0), (0, 2)]
    assert list(own._free()) == []
    with mock.patch("results.store.merge.EXPIRES", 0.0):
        assert list(own._free()) == [(0, 1)]
    assert read_ticket(crew.folder / TICKETS / "1") == Ticket(own._part.name, done=False)


def test_two_clients_never_take_one_lot(store: Path) -> None:
    crew = Crew(store)
    places = [(cell, index) for index in range(3000) for cell in range(2)]
    clients = [tickets_of(crew.new_part(), places) for _ in range(4)]
    with mock.patch("results.store.merge.is_used", return_value=True), ThreadPoolExecutor(4) as pool:
        found = [place for taken in pool.map(lambda one: list(one._free()), clients) for place in taken]
    assert sorted(found) == sorted(places)
    assert len(list((crew.folder / TICKETS).iterdir())) <= 1024


def test_a_part_that_is_used_is_not_removed(store: Path) -> None:
    gone, kept = leave(store, 1), leave(store, 1)
    with locked(kept):
        Crew(store).clear([gone, kept])
        assert (gone.exists(), len(done_in(kept))) == (False, 1)
        assert (Crew(store).folder / TICKETS).exists()
    Crew(store).clear([kept])
    assert not Crew(store).folder.exists()


def test_what_clients_computed_beyond_a_smaller_store_is_not_removed(store: Path) -> None:
    small = STUDY.resized(replications=128)
    run(small, store=store)
    part = leave(store, 6)
    for together in (True, False):
        with pytest.raises(BadInput, match=r"computes 512 replications .* this one 128.*say --replications 512"):
            run(small, store=store, together=together)
    assert len(done_in(part)) == 6
    assert hash_of(run(STUDY, store=store)) == hash_of(run(STUDY, store=store.with_name("alone.zarr")))


def test_a_refused_run_makes_no_store(store: Path, reference: str) -> None:
    leave(store, 2)
    refuses("seed was 11, is now 12", lambda: run(quick_study(512, seed=12), store=store))
    assert not store.exists()
    assert hash_of(run(STUDY, store=store, together=True)) == reference


def test_only_what_clients_make_is_removed(store: Path, reference: str) -> None:
    folder = Crew(store).folder
    (folder / "mine").mkdir(parents=True)
    kept = [folder / "notes.txt", folder / "mine" / "data.csv", folder / "abc.zarr"]
    for path in kept:
        path.write_text("keep")
    assert hash_of(run(STUDY, store=store, together=True)) == reference
    run(STUDY, store=store)
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(kept)


@pytest.mark.parametrize("name", [TICKETS, "0123456789ab.zarr"])
@pytest.mark.parametrize("together", [True, False])
def test_no_link_is_followed_in_the_folder_of_parts(store: Path, name: str, together: bool) -> None:
    leave(store, 1)
    other = run(STUDY.resized(replications=128), store=store.with_name("other.zarr"))
    before = hash_of(other), sorted(store.with_name("other.zarr").rglob("*"))
    place = Crew(store).folder / name
    if name == TICKETS:
        shutil.rmtree(place)
    place.symlink_to(store.with_name("other.zarr"))
    if name == TICKETS and not together:  # a run alone looks at no ticket
        run(STUDY, store=store)
    else:
        refuses("is a link, which is not followed", lambda: run(STUDY, store=store, together=together))
    assert (hash_of(other), sorted(store.with_name("other.zarr").rglob("*"))) == before


def test_damaged_tickets_and_a_folder_in_the_place_of_one_do_no_harm(store: Path, reference: str) -> None:
    tickets = leave(store, 1).parent / TICKETS
    damaged = ['{"part": "\\u0000"}', '{"part": 3}', '{"part": "../x.zarr"}', "[]", "no", "{" * 900]
    for number, said in enumerate(damaged, start=5):
        (tickets / str(number)).write_text(said)
        assert read_ticket(tickets / str(number)) is None, said
    (tickets / "12").mkdir()
    with mock.patch("results.store.merge.EXPIRES", 0.0):
        assert hash_of(run(STUDY, store=store, together=True)) == reference


def test_tickets_without_parts_do_not_keep_anybody_from_work(store: Path, reference: str) -> None:
    shutil.rmtree(leave(store, 5))
    assert hash_of(run(STUDY, store=store, together=True)) == reference
    alone = [line for line in read_log(store) if line["event"] == "commit" and "seconds" in line]
    assert alone == [], "blocks were left to the client that joins"
    assert not Crew(store).folder.exists()
    lock = (part := Crew(store).new_part()).with_name(f"{part.name}.lock")
    run(STUDY, store=store)
    assert lock.exists(), "it may be of a client that starts"
    os.utime(lock, (then := time.time() - 2 * STALE, then))
    run(STUDY, store=store)
    assert not Crew(store).folder.exists(), "a run alone leaves what killed clients left"


def test_blocks_of_every_killed_client_stay(store: Path, reference: str) -> None:
    with mock.patch("results.store.merge.MOST_LOTS", 4):
        for more in (3, 2):
            leave(store, more)
        steps: list[runner.Progress] = []
        assert hash_of(run(STUDY, store=store, together=True, listen=steps.append)) == reference
    assert sum(step.cell >= 0 for step in steps) == 16 - 5


def test_blocks_that_could_not_be_computed_are_tried_by_a_later_crew(store: Path, reference: str) -> None:
    with pytest.raises(Killed):
        run(STUDY, store=store, together=True, executor=Poison(),
            tell=lambda line: _raise(Killed()) if "joined" in line else None)  # fmt: skip
    assert hash_of(run(STUDY, store=store, together=True)) == reference


def _raise(error: BaseException) -> None:
    raise error


def test_a_ticket_that_another_has_taken_over_is_put_back(store: Path) -> None:
    crew = Crew(store)
    own = tickets_of(crew.new_part(), [(0, 0)])
    ticket = crew.folder / TICKETS / "0"
    write_ticket(ticket, now := Ticket("abcdefabcdef.zarr", done=True))
    assert not own._removed(ticket, Ticket("0123456789ab.zarr", done=False))
    assert read_ticket(ticket) == now
    assert [path.name for path in ticket.parent.iterdir()] == ["0"]


def test_a_client_that_comes_while_the_last_one_goes_makes_the_folder_anew(store: Path, reference: str) -> None:
    gone = iter([True])

    def check(path: Path) -> None:
        if path.name == TICKETS and next(gone, False):
            shutil.rmtree(path.parent)
        check_own_folder(path)

    with mock.patch("results.store.merge.check_own_folder", check):
        assert hash_of(run(STUDY, store=store, together=True)) == reference
    assert next(gone, None) is None, "the folder was not removed"


def test_a_part_that_is_joined_meanwhile_is_no_fault(store: Path, reference: str) -> None:
    gone = leave(store, 2)
    names = Crew(store).parts()
    shutil.rmtree(gone)
    with mock.patch.object(Crew, "parts", side_effect=[names, names, [], [], [], []]):
        assert hash_of(run(STUDY, store=store, together=True)) == reference


def test_a_damaged_store_or_part_is_repaired(store: Path, reference: str) -> None:
    part = leave(store, 3)
    (part / "effect" / "zarr.json").write_bytes(b"")
    assert hash_of(run(STUDY, store=store, together=True)) == reference
    (store / "zarr.json").write_bytes(b"")
    assert hash_of(run(STUDY, store=store, together=True)) == reference


# Shards of a study, each in a store of its own, and what `merge` makes of them.


def small_study(replications: int = 200, **changes: Any) -> Study:
    """Two cells, two estimators, eight blocks."""
    settings = {"seed": 7, "estimators": (TwoWayDID(), TwoWayDID(label="other"))}
    return quick_study(replications, **settings | changes)


def hash_at(path: Path) -> str:
    return ZarrStore.open(path).content_hash()


@pytest.fixture(scope="module")
def reference_of_shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("reference") / "x.zarr"
    run(small_study(), store=path)
    return hash_at(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three shards of the small study."""
    folder = tmp_path_factory.mktemp("shards")
    for number in (1, 2, 3):
        run(small_study(), store=folder / f"{number}.zarr", plan=Resume(shard=Shard(number, 3)))
    return folder


@pytest.fixture
def shards(made: Path, tmp_path: Path) -> list[Path]:
    for number in (1, 2, 3):
        shutil.copytree(made / f"{number}.zarr", tmp_path / f"{number}.zarr")
    return [tmp_path / f"{number}.zarr" for number in (1, 2, 3)]


def test_shards_share_the_blocks_out_and_merge_into_one_run(
    reference_of_shards: str, shards: list[Path], tmp_path: Path
) -> None:
    held = [set(ZarrStore.open(path).done()) for path in shards]
    assert [len(places) for places in held] == [3, 3, 2]
    assert set().union(*held) == set(ZarrStore.open(shards[0]).places())
    merged = merge(shards[::-1], tmp_path / "out.zarr")
    assert (merged.taken, merged.shared, merged.done, merged.total) == ((2, 3, 3), 0, 8, 8)
    assert hash_at(tmp_path / "out.zarr") == reference_of_shards
    assert ZarrStore.open(tmp_path / "out.zarr").shard is None
    assert [origin.blocks for origin in ZarrStore.open(tmp_path / "out.zarr").environments] == [8]


def test_a_shard_is_complete_by_itself_and_says_which_it_is(shards: list[Path]) -> None:
    store = ZarrStore.open(shards[1])
    assert store.shard == Shard(2, 3)
    assert sorted(store.wanted()) == sorted(store.done())
    here("store", "verify", shards[1])
    said = "a shard, 2 of 3: 3 of 8 blocks of the study are here; `panelproof store merge` joins all shards"
    assert facts_of(store).warnings == [said]


def test_more_replications_leave_earlier_blocks_to_the_same_shard(shards: list[Path], tmp_path: Path) -> None:
    for number, path in enumerate(shards, 1):
        run(small_study(300), store=path, plan=Resume(shard=Shard(number, 3)))
    run(small_study(300), store=tmp_path / "whole.zarr")
    merge(shards, tmp_path / "out.zarr")
    assert hash_at(tmp_path / "out.zarr") == hash_at(tmp_path / "whole.zarr")


def test_blocks_that_agree_are_taken_once_and_others_are_refused(
    reference_of_shards: str, shards: list[Path], tmp_path: Path
) -> None:
    merge(shards[:2], tmp_path / "two.zarr")
    merged = merge([tmp_path / "two.zarr", *shards[1:]], tmp_path / "all.zarr")
    assert (merged.taken, merged.shared) == ((6, 0, 2), 3)
    assert "3 were in more than one store with the same bytes and were taken once" in merged.sentence
    assert hash_at(tmp_path / "all.zarr") == reference_of_shards
    twin = ZarrStore(Path(shutil.copytree(tmp_path / "two.zarr", tmp_path / "twin.zarr")), "a")
    for other, places in ((ZarrStore(shards[1], "a"), 1), (twin, 6)):
        for cell, index in other.done()[places - 1 :: -1]:
            block = other.sound(cell, index)
            changed = replace(block.estimates["did"], estimate=block.estimates["did"].estimate + 1e-12)
            other.put(cell, index, replace(block, estimates={**block.estimates, "did": changed}), 1)
    refuses("1 more block overlap", lambda: merge([tmp_path / "two.zarr", tmp_path / "twin.zarr"], tmp_path / "no"))
    cell, index = ZarrStore.open(shards[1]).done()[0]
    with pytest.raises(BadInput, match=f"block {index} of cell {cell} has other bytes than in .*two.zarr"):
        merge([tmp_path / "two.zarr", *shards[1:]], tmp_path / "no.zarr")
    assert not (tmp_path / "no.zarr").exists()


def assert_refused(stores: Sequence[Path], out: Path, words: str) -> None:
    before = sorted(path.name for path in out.parent.iterdir())
    refuses(words, lambda: merge(stores, out))
    assert sorted(path.name for path in out.parent.iterdir()) == before


def test_what_does_not_belong_together_is_refused_and_nothing_written(shards: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    run(small_study(seed=8), store=tmp_path / "seed.zarr")
    assert_refused([shards[0], tmp_path / "seed.zarr"], out, "belongs to another study: seed was 7, is now 8")
    run(small_study(300), store=shards[2], plan=Resume(shard=Shard(3, 3)))
    assert_refused(shards, out, "has 300 replications a cell, .* has 200")
    assert_refused([shards[0]], out, "1 stores are named")
    assert_refused([shards[0], shards[0]], out, "2 stores are named, 1 different ones")
    assert_refused([shards[0], tmp_path / "none.zarr"], out, "no such store")
    assert_refused(shards[:2], shards[1], "already exists")


@pytest.mark.parametrize("order", [1, -1])
def test_a_sound_copy_takes_the_place_of_a_damaged_one(
    reference_of_shards: str, shards: list[Path], tmp_path: Path, order: int
) -> None:
    whole, hurt = tmp_path / "whole.zarr", tmp_path / "hurt.zarr"
    merge(shards, whole)
    shutil.copytree(whole, hurt)
    chunk = next(path for path in (hurt / "did" / "inference").glob("c.*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-3])
    merged = merge([whole, hurt][::order], tmp_path / "out.zarr")
    assert (merged.done, merged.shared) == (8, 7)
    assert hash_at(tmp_path / "out.zarr") == reference_of_shards


def test_what_is_there_of_partial_blocks_has_an_environment_too(shards: list[Path], tmp_path: Path) -> None:
    partial = tmp_path / "partial.zarr"
    run(small_study(estimators=small_study().estimators[:1]), store=partial)
    ZarrStore.open_or_create(partial, schema_of(small_study()))
    assert set(ZarrStore.open(partial).states.ravel()) == {BlockState.PARTIAL}
    assert ZarrStore.open(partial).environments == ()
    merge([shards[0], partial], tmp_path / "same.zarr")
    store = ZarrStore(partial, "a")
    (own,) = store.noted("origins")
    store.note("origins", [own | {"text": "another", "facts": own["facts"] | {"machine": "another"}}])
    assert_refused([shards[0], partial], tmp_path / "out.zarr", r"blocks come from 2 environments: .* \| another")
    merge([shards[0], partial], tmp_path / "out.zarr", accept_code_change=True)
    merged = ZarrStore.open(tmp_path / "out.zarr")
    assert [origin.blocks for origin in merged.environments] == [3]
    assert [origin.blocks for origin in merged.partial_environments] == [5]


def test_shards_of_two_environments_are_refused_unless_that_is_accepted(shards: list[Path], tmp_path: Path) -> None:
    store = ZarrStore(shards[1], "a")
    (origin,) = store.known_origins
    store.note("origins", [{"text": "another", "facts": {**origin.facts, "machine": "other"}, "differs": []}])
    assert_refused(shards, tmp_path / "out.zarr", r"blocks come from 2 environments: .* \| another")
    merge(shards, tmp_path / "out.zarr", accept_code_change=True)
    assert [origin.blocks for origin in ZarrStore.open(tmp_path / "out.zarr").environments] == [5, 3]


def test_a_store_in_use_is_left_alone(shards: list[Path], tmp_path: Path) -> None:
    with locked(shards[1]), pytest.raises(StoreLocked):
        merge(shards, tmp_path / "out.zarr")


def test_another_share_of_a_store_is_refused(shards: list[Path], tmp_path: Path) -> None:
    before, whole, first = hash_at(shards[0]), tmp_path / "whole.zarr", Resume(shard=Shard(1, 3))
    run(small_study(64), store=whole)
    larger = small_study(grid=(("effect", (0.0, 0.02, 0.03)),))
    for study, store, plan, words in (
        (small_study(), shards[0], Resume(shard=Shard(2, 3)), "holds shard 1/3 of its study"),
        (small_study(), shards[0], Resume(), "holds shard 1/3 of its study.*say --shard 1/3"),
        (larger, shards[0], first, "a shard cannot grow by cells or estimators"),
        (small_study(64), whole, first, "holds the whole study, not a shard"),
    ):
        refuses(words, lambda study=study, store=store, plan=plan: run(study, store=store, plan=plan))
    assert hash_at(shards[0]) == before


def test_poisoned_blocks_stay_so_unless_another_store_has_them(
    reference_of_shards: str, shards: list[Path], tmp_path: Path
) -> None:
    store = ZarrStore(shards[0], "a")
    cell, index = store.done()[1]
    store.poison(cell, index, "killed\n")
    merged = merge(shards, tmp_path / "out.zarr")
    assert (merged.done, merged.total) == (7, 8)
    out = ZarrStore.open(tmp_path / "out.zarr")
    assert out.state(cell, index) is BlockState.POISONED
    assert out.tracebacks == {f"cell {cell} block {index}": "killed\n"}
    run(small_study(), store=tmp_path / "out.zarr")
    assert hash_at(tmp_path / "out.zarr") == reference_of_shards


def test_what_could_not_be_computed_twice_is_shared_by_nobody(shards: list[Path], tmp_path: Path) -> None:
    merge(shards[:2], tmp_path / "two.zarr")
    for path in (tmp_path / "two.zarr", shards[0]):
        ZarrStore(path, "a").poison(*ZarrStore.open(shards[0]).done()[0], "killed\n")
    merged = merge([tmp_path / "two.zarr", *shards], tmp_path / "out.zarr")
    assert (merged.taken, merged.shared, merged.done) == ((5, 0, 0, 2), 5, 7)


def test_the_store_that_holds_most_of_a_block_gives_it(
    reference_of_shards: str, shards: list[Path], tmp_path: Path
) -> None:
    shutil.copytree(shards[0], tmp_path / "sound.zarr")
    ZarrStore(shards[0], "a").poison(*ZarrStore.open(shards[0]).done()[0], "killed\n")
    merged = merge([*shards, tmp_path / "sound.zarr"], tmp_path / "out.zarr")
    assert (merged.taken, merged.shared, merged.done) == ((2, 3, 2, 1), 3, 8)
    assert hash_at(tmp_path / "out.zarr") == reference_of_shards


def test_a_part_of_a_damaged_block_is_no_copy_of_it(shards: list[Path], tmp_path: Path) -> None:
    for path in (shards[1] / "did" / "inference").glob("c.*"):
        path.unlink()
    assert_refused(shards, tmp_path / "out.zarr", r"2\.zarr; block \d of cell \d is damaged")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_what_is_no_share_is_refused(text: str) -> None:
    refuses("is no share", lambda: Shard.read(text))


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = DID.replace("512", "192").partition("[grid]")[0]
    for name in ("s", "t"):
        (tmp_path / f"{name}.toml").write_text(text)
    one, two, third = "runs/s-1-of-2.zarr", "runs/s-2-of-2.zarr", "runs/t-2-of-3.zarr"
    serial = ("--cluster", "serial")
    for number in (1, 2):
        here("run", "s.toml", *serial, "--shard", f"{number}/2")
    here("run", "s.toml", *serial, "--shard", "1/2", "--until", "bias:1", code=2)
    said = here("store", "merge", one, two, "--out", "runs/s.zarr").out
    assert said.splitlines()[0] == "merged 2 stores: 3 of 3 blocks, 2 + 1"
    here("run", "s.toml", *serial, "--store", "whole.zarr")
    assert hash_at(tmp_path / "whole.zarr") == hash_at(tmp_path / "runs/s.zarr")
    here("run", "t.toml", *serial, "--shard", "2/3")
    here("store", "merge", one, third, "--out", "part.zarr")
    said = here("store", "merge", two, third, "--out", "other.zarr", code=3).out
    assert "missing 2 blocks; run the study with --store other.zarr" in said
    here("store", "merge", two, third, "--out", "json.zarr", "--json", code=3)
