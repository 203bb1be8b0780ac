"""The recordings of jobs on disk, and what sweeps them away."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import time
from pathlib import Path

import pytest

from asr_gateway import cli
from asr_gateway.console import StartError
from asr_gateway.jobs import housekeeping
from asr_gateway.store import database
from asr_gateway.store.blobs import Blobs
from asr_gateway.store.job_rows import End, NewJob, new_id
from asr_gateway.store.jobs import JobStore
from asr_gateway.store.transactions import Transactions


def test_a_recording_is_whole_and_the_owners_alone(tmp_path: Path):
    blobs, id = Blobs(tmp_path / "deep" / "blobs"), new_id()
    file = io.BytesIO(b"OggS" * 1_000_000)
    file.seek(7)
    blobs.keep(id, file)
    assert blobs.path(id).read_bytes() == file.getvalue()
    assert stat.S_IMODE(blobs.path(id).stat().st_mode) == 0o600
    assert stat.S_IMODE(blobs.path(id).parent.stat().st_mode) == 0o700
    assert blobs.size_bytes() == 4_000_000
    blobs.remove(id)
    blobs.remove(id)
    assert list(blobs.path(id).parent.iterdir()) == []


def test_it_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blobs, id = Blobs(tmp_path), new_id()
    synced: list[tuple[bool, list[str]]] = []

    def fsync(file: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(file).st_mode)
        synced.append((is_folder, [path.name for path in tmp_path.iterdir()]))

    monkeypatch.setattr(os, "fsync", fsync)
    blobs.keep(id, io.BytesIO(b"x"))
    assert synced == [(False, [f"{id}.part"]), (True, [id])]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        Blobs(tmp_path).keep(new_id(), io.BytesIO(b"x"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="--blobs"):
        Blobs(tmp_path / "file" / "blobs")
    flags = [f"--store=sqlite:///{tmp_path}/s.sqlite3", f"--blobs={tmp_path}/file"]
    assert cli.main(["--server=a:1", "--http-port=0", *flags]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_postgresql_needs_a_folder(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["--server=a:1", "--store=postgresql+psycopg://a@b/c"]) == 2
    assert "--blobs is missing" in capsys.readouterr().err


def test_what_killed_gateways_left_is_swept_away(store_url: str, tmp_path: Path):
    database.open_store(store_url).dispose()
    blobs, transactions = Blobs(tmp_path / "blobs"), Transactions(store_url)
    store = JobStore(transactions, owner="a")
    names = ("ended", "queued", "fresh", "old", "part")
    ids = dict(zip(names, sorted(new_id() for _ in names), strict=True))
    for id in ids.values():
        blobs.keep(id, io.BytesIO(b"x"))
    part = blobs.path(ids["part"]).rename(blobs.path(f"{ids['part']}.part"))
    foreign = blobs.path("README")
    foreign.touch()
    long_ago = time.time() - 2 * housekeeping.ORPHAN_AGE_S
    for path in (blobs.path(ids["old"]), blobs.path(ids["queued"]), part, foreign):
        os.utime(path, (long_ago, long_ago))

    async def swept() -> int:
        for name in ("ended", "queued"):
            await store.add(
                NewJob(
                    id=ids[name],
                    key="a",
                    audio_bytes=1,
                    audio_sha256="a",
                    request={},
                    request_id="r",
                    body_sha256="b",
                    idempotency_key=None,
                    webhook_url=None,
                )
            )
        [row] = await store.claim(1)
        assert row["id"] == ids["ended"]
        await store.end(row, End(status="succeeded"))
        return await housekeeping.sweep(store, blobs)

    assert asyncio.run(swept()) == 3
    left = {path.name for path in (tmp_path / "blobs").iterdir()}
    assert left == {ids["queued"], ids["fresh"], "README"}
    transactions.close()
