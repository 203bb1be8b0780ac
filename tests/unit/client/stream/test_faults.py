"""Disturbed streams on the fake's model of a server, in simulated time.

`ASR_STREAM_TRIALS=1000` makes a thousand trials of each fault instead of 10.
"""

from __future__ import annotations

import json
import os
import random
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from asr_client import (
    AsrError,
    DeadlineExceeded,
    EngineRestarting,
    Segment,
    ServerUnavailable,
    StreamEvent,
    StreamLost,
)
from asr_client._stream.core import StreamCore
from asr_client._stream.form import Form, StreamSettings
from asr_client._stream.look import Look, look_options, look_result
from asr_client.testing._looks import look as heard

TRIALS = int(os.environ.get("ASR_STREAM_TRIALS", "10"))
RATE_HZ = 500
CHUNK_S = 0.1
FORM = Form(encoding="pcm_s16le", sample_rate=RATE_HZ, channels=1)
PCM: dict[str, Any] = {"encoding": "pcm_s16le", "sample_rate": RATE_HZ, "channels": 1}
SETTINGS = StreamSettings(interim=True, max_segment_s=None, max_behind_s=60.0, give_up_s=30.0)
NEVER_S = float("inf")
FAULTS = ("front", "network", "one of two servers", "only server", "drop", "silence", "stall")


@dataclass
class World:
    """Servers, their network and the client's process, of which one fails at `at_s`."""

    fault: str
    at_s: float
    until_s: float
    rng: random.Random
    turn: int = 0

    def answer_s(self, look: Look, now: float) -> tuple[float, AsrError | None]:
        """When the call of a look ends, and its error if it fails."""
        names = ["a", "b"] if self.fault == "one of two servers" else ["a"]
        self.turn += 1
        choices = [name for name in names if name not in look.avoid] or names
        name = choices[self.turn % len(choices)]
        done = now + self.rng.uniform(0.01, 0.6)
        meets = now <= self.at_s < done
        is_down = self.at_s <= done and now < self.until_s
        if self.fault == "front" and meets:
            return self._again(look, self.at_s, error(EngineRestarting, name), done)
        if self.fault == "drop" and meets:
            return self._again(look, self.at_s, error(ServerUnavailable, name), done)
        if self.fault == "silence" and meets:
            return now + look.timeout_s, error(DeadlineExceeded, name)
        if self.fault == "network" and is_down:
            # The front keeps the window until there is a process again.
            done = self.until_s + self.rng.uniform(0.01, 0.6)
            late = error(DeadlineExceeded, name)
            return (done, None) if done < now + look.timeout_s else (now + look.timeout_s, late)
        if self.fault == "one of two servers" and is_down and name == "a":
            return self._again(look, max(now, self.at_s), error(ServerUnavailable, name), done)
        if self.fault == "only server" and is_down:
            gone = error(ServerUnavailable, name)
            if look.end and self.until_s < now + look.timeout_s:
                return self.until_s + 0.1, None
            return now + look.timeout_s if look.end else max(now, self.at_s), gone
        return done, None

    def _again(
        self, look: Look, failed_s: float, failure: AsrError, done_s: float
    ) -> tuple[float, AsrError | None]:
        """The look at the end is sent again within its call."""
        return (done_s + 1.0, None) if look.end else (failed_s, failure)

    def wakes_s(self, now: float) -> float:
        """When the client's process goes on."""
        return self.until_s if self.fault == "stall" and self.at_s <= now < self.until_s else now


@dataclass
class Outcome:
    """What a stream gave."""

    events: list[StreamEvent] = field(default_factory=list)
    looks: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0
    kept_bytes: int = 0
    """At most."""


def error(kind: type[AsrError], address: str) -> AsrError:
    return kind(status="UNAVAILABLE", address=address)


def text(index: int, pcm: bytes) -> str:
    return f"{zlib.crc32(pcm):08x}"


def speech(rng: random.Random) -> bytes:
    """Tones of any length with pauses of any length, 8 to 25 s."""
    parts: list[Any] = []
    seconds = rng.uniform(8, 25)
    while sum(map(len, parts)) < seconds * RATE_HZ:
        level = 0 if len(parts) % 2 else rng.randrange(1000, 20_000)
        length_s = rng.uniform(0.1, 1.5) if len(parts) % 2 else rng.uniform(0.3, 5)
        samples = np.full(round(length_s * RATE_HZ), level, "<i2")
        parts.append(samples + np.arange(len(samples), dtype="<i2") % 7 * (level > 0))
    return np.concatenate(parts).astype("<i2").tobytes()


def play(pcm: bytes, world: World) -> Outcome:
    """Play a stream in real time of a clock that is simulated."""
    stream, outcome = StreamCore(SETTINGS, FORM, rng=world.rng.random), Outcome()
    now = answered_s = 0.0
    fed = 0
    while not stream.finished:
        now = world.wakes_s(now)
        recorded = min(2 * int(now * RATE_HZ), len(pcm))
        if recorded > fed:
            stream.feed(pcm[fed:recorded])
        fed = recorded
        outcome.kept_bytes = max(outcome.kept_bytes, len(stream.kept))
        if fed == len(pcm):
            stream.finish()
        look = stream.next_look(now)
        if look is None:
            wait_s = stream.wait_s(now)
            assert fed < len(pcm) or wait_s is not None or stream.finished, "it stands still"
            now += CHUNK_S if wait_s is None else min(CHUNK_S, wait_s)
            continue
        outcome.looks += 1
        assert outcome.looks < 20 + 10 * now, "a busy loop"
        now, failure = world.answer_s(look, now)
        now = world.wakes_s(now)
        try:
            if failure is not None:
                outcome.events += stream.failed(failure, now, several="two" in world.fault)
                continue
        except StreamLost as lost:
            stream = StreamCore(SETTINGS, FORM, resume=lost, rng=world.rng.random)
            continue
        given = {**PCM, **json.loads(look_options(look, PCM))}
        found = heard(look.audio, given=given, text=text)
        found["model"] = {"id": "fake", "revision": "1"}
        outcome.events += stream.answered(look_result(json.dumps(found).encode()), now)
        outcome.longest_s = max(outcome.longest_s, now - answered_s)
        answered_s = now
    assert stream.kept == b""
    assert stream.next_look(now + 100) is None
    outcome.seconds = now
    return outcome


def finals(events: list[StreamEvent]) -> list[tuple[int, int, int, str, str]]:
    return [
        (each.index, each.first_frame, each.frames, each.text, each.reason)
        for each in events
        if isinstance(each, Segment)
    ]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_final_is_lost_or_comes_twice(fault: str) -> None:
    for seed in range(TRIALS):
        rng = random.Random(f"{fault} {seed}")
        pcm = speech(rng)
        whole = heard(pcm, given={**PCM, "end": True}, text=text)["segments"]
        expected = [
            (each["index"], each["first_frame"], each["frames"], each["text"], each["reason"])
            for each in whole
        ]
        at_s = rng.uniform(0, len(pcm) / 2 / RATE_HZ + 0.5)
        lasts_s = 20.0 if fault == "stall" else rng.uniform(1, 40)
        outcome = play(pcm, World(fault, at_s, at_s + lasts_s, rng))
        assert finals(outcome.events) == expected, seed
        assert len(outcome.events) == len({id(event) for event in outcome.events})
        assert all(event.__class__.__name__ != "Skipped" for event in outcome.events), seed
        # The fault, the look that met it, and the longest waits behind it.
        assert outcome.longest_s < lasts_s + 35 + 12, seed
        assert outcome.kept_bytes <= 2 * RATE_HZ * 90
