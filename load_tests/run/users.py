"""Locust users that call the service through the SDK.

Importing this module lets gRPC wait in gevent's loop. Without that a waiting call blocks the
whole process and the users take turns: the generator then offers a fraction of the load, while
the latencies it reports look right.
"""

import locust  # isort: skip  # it patches the standard library: before all that uses sockets

import contextlib
import random
from collections.abc import Iterator
from typing import ClassVar

import gevent.pool
import grpc.experimental.gevent
import numpy as np
from locust.exception import StopUser

from asr_client import AsrError, Client, LiveStream, paced
from load_tests.run.closed_loop import ONCE
from load_tests.run.corpus import Clip
from load_tests.run.listener import CHUNK_S, HOP_S, Listener
from load_tests.run.worker import Run

grpc.experimental.gevent.init_gevent()

_IDLE_S = 0.05


class Caller(locust.User):
    """Has a client of its own; the run is set on the class before any begins."""

    abstract = True
    wait_time = locust.constant(0)

    load: ClassVar[Run]
    url: ClassVar[str]
    """HOST:PORT. Not Locust's `host`, which its web page lets anybody change."""

    def on_start(self) -> None:
        """Open the client and wait for the run to begin. Retries are off."""
        self._client = Client(self.url, timeout_s=self.load.plan.timeout_s, retry=ONCE)
        gevent.sleep(max(0.0, -self.load.elapsed_s))

    def on_stop(self) -> None:
        """Close the client."""
        self._client.close()

    def call(self, clip: Clip, due_s: float) -> None:
        """Send a clip and count how long after `due_s`, in seconds of the run, it was answered.

        A live stream is to be answered at the end of its audio.
        """
        began_s, text, failure = self.load.elapsed_s, "", None
        listener = Listener() if clip.is_live else None
        try:
            if listener is None:
                text = self._client.transcribe(clip.audio, **clip.options).text
            else:
                text = self._play(clip, listener)
        except Exception as error:
            failure = error
        answer_due_s = due_s + (clip.duration_s if clip.is_live else 0.0)
        latency_s = max(0.0, self.load.elapsed_s - answer_due_s)
        live = None if listener is None else listener.tally
        fine = self.load.note(
            clip, due_s=due_s, began_s=began_s, text=text, error=failure, live=live
        )
        if not fine and failure is None:
            failure = ValueError(f"a transcript of {clip.name}")
        self.environment.events.request.fire(
            request_type="stream" if clip.is_live else "transcribe",
            name=clip.kind,
            response_time=1000 * latency_s,
            response_length=len(text.encode()),
            exception=None if fine else failure,
            context={},
        )

    def _play(self, clip: Clip, listener: Listener) -> str:
        """Play a stream in real time; the text of its finals."""
        samples, rate = np.frombuffer(clip.audio, "<i2"), clip.options["sample_rate"]
        give_up_s = self.load.plan.timeout_s
        with self._client.stream(**clip.options, give_up_s=give_up_s) as live:
            ears = gevent.spawn(self._listen, live, listener, self.load.elapsed_s)
            for chunk in paced(samples, sample_rate=rate, chunk_s=CHUNK_S):
                live.feed(chunk)
            live.finish()
            ears.join()
            return live.transcript.text

    def _listen(self, live: LiveStream, listener: Listener, began_s: float) -> None:
        # What ends the stream is raised where it is fed, too.
        with contextlib.suppress(AsrError):
            for event in live.events():
                listener.take(event, self.load.elapsed_s - began_s)


class ClosedLoopCaller(Caller):
    """Sends one clip after the other, without a pause: a user is one call in flight."""

    abstract = True
    sends: ClassVar[str]
    """A key of `SENDS`."""

    def on_start(self) -> None:
        """Take a sequence of clips that no other caller has."""
        super().on_start()
        self._clips: Iterator[Clip] = self.load.clips(self.sends)

    @locust.task
    def send_next(self) -> None:
        """Send the next clip, as long as the run lasts."""
        if self.load.is_over:
            gevent.sleep(_IDLE_S)
        else:
            self.call(next(self._clips), self.load.elapsed_s)


class ShortCaller(ClosedLoopCaller):
    """Sends commands and sentences."""

    sends = "short"


class CommandsCaller(ClosedLoopCaller):
    """Sends commands."""

    sends = "commands"


class MeetingsCaller(ClosedLoopCaller):
    """Sends long recordings."""

    sends = "meetings"


class SecondsCaller(ClosedLoopCaller):
    """Sends a second of PCM."""

    sends = "seconds"


class TalksCaller(ClosedLoopCaller):
    """Plays live streams."""

    sends = "talks"

    def on_start(self) -> None:
        """Begin at a time of its own, so that the streams' looks are not in step."""
        super().on_start()
        gevent.sleep(random.uniform(0, HOP_S))


CALLERS = (ShortCaller, CommandsCaller, MeetingsCaller, SecondsCaller, TalksCaller)


class ScheduledCaller(Caller):
    """Sends this process's part of an open loop, whether or not earlier calls were answered."""

    @locust.task
    def send_all(self) -> None:
        """Send each clip when it is due; end when all were answered."""
        calls = gevent.pool.Group()
        for due_s, clip in self.load.schedule():
            # At least once, so that answers are read while the schedule is late.
            gevent.sleep(max(0.0, due_s - self.load.elapsed_s))
            calls.spawn(self.call, clip, due_s)
        calls.join()
        raise StopUser
