"""Locust users that call the service through the SDK.

Importing this module lets gRPC wait in gevent's loop. Without that a waiting call blocks the
whole process and the users take turns: the generator then offers a fraction of the load, while
the latencies it reports look right.
"""

import locust  # isort: skip  # it patches the standard library: before all that uses sockets

from collections.abc import Iterator
from typing import ClassVar

import gevent.pool
import grpc.experimental.gevent
from locust.exception import StopUser

from asr_client import Client
from load_tests.run.closed_loop import ONCE
from load_tests.run.corpus import Clip
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
        """Send a clip and count how long after `due_s`, in seconds of the run, it was answered."""
        began_s, text, failure = self.load.elapsed_s, "", None
        try:
            text = self._client.transcribe(clip.audio, **clip.options).text
        except Exception as error:
            failure = error
        latency_s = self.load.elapsed_s - due_s
        fine = self.load.note(clip, due_s=due_s, began_s=began_s, text=text, error=failure)
        if not fine and failure is None:
            failure = ValueError(f"a transcript of {clip.name}")
        self.environment.events.request.fire(
            request_type="transcribe",
            name=clip.kind,
            response_time=1000 * latency_s,
            response_length=len(text.encode()),
            exception=None if fine else failure,
            context={},
        )


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


CALLERS = (ShortCaller, CommandsCaller, MeetingsCaller, SecondsCaller)


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
