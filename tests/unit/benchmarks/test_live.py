"""What the load table of live recognition says of turns."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.live import load
from benchmarks.live.files import File
from benchmarks.live.load import Beside, Cell, Network, Turn
from benchmarks.live.streams import FRAME_BYTES, RATE_HZ, Played, talk

NETWORK = Network(name="small", hop_s=0.4, streams=1)
SPEECH = Beside(name="speech", file=File(audio=b"", options={}), count=2)


def turn(*interim_s: float, file_s: float = 0.0, looks: int = 20, failed: int = 0) -> Turn:
    played = Played(interim_s=list(interim_s), looks=looks, failed=failed)
    return Turn(
        played=[played] if interim_s else [],
        seconds=10.0,
        file_s=file_s,
        other_cores=0.25,
        memory_growth=3 * 2**20,
    )


ALONE = Cell(network=NETWORK, streams=1, turns=[turn(0.1), turn(0.2), turn(0.1)])
FILES = Cell(network=NETWORK, streams=0, beside=SPEECH, turns=[turn(file_s=400)] * 3)


def beside(*p95_s: float) -> Cell:
    turns = [turn(each, file_s=100) for each in p95_s]
    return Cell(network=NETWORK, streams=1, beside=SPEECH, turns=turns)


def test_rounds_are_compared_with_themselves():
    assert beside(0.2, 0.3, 0.4).ratios(ALONE) == pytest.approx([2.0, 1.5, 4.0])
    assert beside(0.2, 0.3, 0.4).ratio(ALONE) == pytest.approx(2.0)
    # A cell with one turn came after the last round.
    assert beside(0.3).ratio(ALONE) == pytest.approx(3.0)


@pytest.mark.parametrize(("p95_s", "met"), [((0.2, 0.5, 0.25), "met"), ((0.3, 0.6, 0.1), "missed")])
def test_the_bar_beside_recordings(p95_s: tuple[float, ...], met: str):
    line = load._beside_verdict(beside(*p95_s), ALONE, FILES)
    assert f"at most 2.5: {met};" in line
    assert "have 25% of the speed that 2 have without streams" in line


@pytest.mark.parametrize(("p95_s", "met"), [(0.25, "met"), (0.251, "missed")])
def test_the_bar_of_streams_alone(p95_s: float, met: str):
    line = load._latency_verdict(dataclasses.replace(ALONE, turns=[turn(p95_s)]))
    assert line.endswith(f"times 250 ms: {met}.")


@pytest.mark.parametrize(("failed", "met"), [(0, "met"), (1, "missed")])
def test_the_bar_of_too_many_streams(failed: int, met: str):
    crowd = Cell(network=NETWORK, streams=2, turns=[turn(0.5, looks=10, failed=failed)])
    line = load._crowd_verdict(crowd, ALONE)
    assert f"{failed} looks fail: {met}; a stream looks 0.25 times as often" in line
    assert "changes by +3 MiB" in line


def test_a_row_says_only_what_was_measured():
    cells = [cell.strip() for cell in load._row(FILES, ALONE).split("|")[1:-1]]
    assert cells == [
        "small, hop 0.4 s",
        "0",
        "2 of speech",
        "",
        "",
        "",
        "40.0",
        "0",
        "25 % of a core",
    ]


def test_a_talk_is_as_long_as_the_longest_turn():
    assert min(len(talk(seed)[0]) for seed in range(8)) / FRAME_BYTES / RATE_HZ > 14
