from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from asr_client.cli.results import Results, ResultsError

A = '{"id": "a", "text": "x"}\n'
B = '{"id": 2, "error": {"code": null}}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def test_lines_are_written_and_known_again(path: Path) -> None:
    with Results(path) as results:
        assert results.done == set()
        results.write("a", {"text": "ü"})
        # Nothing waits in a buffer of this process.
        assert path.read_text(encoding="utf-8") == '{"id": "a", "text": "ü"}\n'
        results.write(2, {"error": {}})
        results.sync()
    with Results(path) as results:
        assert (results.done, results.failed) == ({"a", 2}, {2})
        results.write("c", {})
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["a", 2, "c"]


@pytest.mark.parametrize(
    "tail",
    [
        '{"id": "c", "text": "a b',
        '{"id": "c", "text": "a b c"}',
        "{",
        '{"id": ',
        "\0\0\0",
        '{"id": "c", "text\0\0\0\0',
        '\0\0\0\0"}\n{"id": "d"}\n'.replace('"}\n{', '{"id": 5}\n{'),
    ],
)
def test_what_was_left_unfinished_is_cut_off(path: Path, tail: str) -> None:
    path.write_text(A + B + tail)
    with Results(path) as results:
        assert results.done == {"a", 2}
        assert path.read_text() == A + B
        results.write("c", {})
    assert path.read_text() == A + B + '{"id": "c"}\n'


@pytest.mark.parametrize(
    "text",
    [
        "RIFF....WAVE",
        "no results\n",
        A + "no result\n",
        A + '{"idea": 1}\n',
        A + "[1]\n",
        A + '{"id": [1]}\n',
        "\0\0\0\0",
        A + "x",
    ],
)
def test_another_kind_of_file_is_left_alone(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ResultsError, match="not a file of results"):
        Results(path)
    assert path.read_text() == text


@pytest.mark.parametrize("name", ["/dev/full", "/dev/null", "/proc", "/missing/folder/results"])
def test_what_is_no_file_is_refused(name: str) -> None:
    with pytest.raises(ResultsError):
        Results(Path(name))


def test_only_one_process_writes(path: Path) -> None:
    with Results(path), pytest.raises(ResultsError, match="another command is writing"):
        Results(path)
    Results(path).__exit__(None, None, None)


def test_failed_lines_are_taken_out_and_all_else_stays(path: Path) -> None:
    path.write_text(A + B + '{"id": "c"}\n' + '{"id": "torn')
    with Results(path, drop_failed=True) as results:
        assert (results.done, results.failed) == ({"a", "c"}, set())
        assert path.read_text() == A + '{"id": "c"}\n'
        with pytest.raises(ResultsError, match="another command is writing"):
            Results(path)
        results.write("d", {})
    assert path.read_text() == A + '{"id": "c"}\n{"id": "d"}\n'
    assert list(path.parent.iterdir()) == [path]


def test_a_link_to_the_file_stays_a_link(path: Path, tmp_path: Path) -> None:
    path.write_text(B)
    link = tmp_path / "link"
    link.symlink_to(path)
    with Results(link, drop_failed=True) as results:
        results.write("a", {})
    assert link.is_symlink()
    assert path.read_text() == '{"id": "a"}\n'


def test_a_disk_that_is_full_leaves_whole_lines(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [30]
    write = os.write

    def full(file: int, data: Any) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(file, bytes(data)[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", full)
    with Results(path) as results:
        results.write("a", {})
        with pytest.raises(OSError, match="No space left"):
            results.write("b", {"text": "x" * 100})
    assert path.read_text() == '{"id": "a"}\n'


def test_a_signal_between_two_parts_of_a_line_leaves_whole_lines(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def interrupted(file: int, data: Any) -> int:
        write(file, bytes(data)[:5])
        raise KeyboardInterrupt

    with Results(path) as results:
        results.write("a", {})
        monkeypatch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            results.write("b", {})
    assert path.read_text() == '{"id": "a"}\n'


def test_sync_is_for_what_was_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    with Results(path) as results:
        monkeypatch.setattr(os, "fsync", synced.append)
        results.sync()
        assert synced == []
        results.write("a", {})
        results.write("b", {})
        results.sync()
        results.sync()
        assert len(synced) == 1
