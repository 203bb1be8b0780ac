"""Locust users that call the service through the SDK.

Importing this module lets gRPC wait in gevent's loop. Without that a waiting call blocks the
whole process and the users take turns: the generator then offers a fraction of the load, while
the latencies it reports look right.
"""

import locust  # isort: skip  # it patches the standard library: before all that uses sockets

import itertools
import time
from collections.abc import Iterator
from typing import Any

import grpc.experimental.gevent

from asr_client import Client, RetryPolicy
from load_tests.corpus import Clip

grpc.experimental.gevent.init_gevent()

_offsets = itertools.count()


class TranscribeUser(locust.User):
    """Sends one clip after the other, without a pause: a user is one call in flight.

    The scenario sets the class attributes before the run starts.
    """

    abstract = True
    wait_time = locust.constant(0)

    url: str = ""
    """HOST:PORT. Not Locust's `host`, which its web page lets anybody change."""

    clips: tuple[Clip, ...] = ()
    """What to send; each user starts at another one."""

    timeout_s: float = 60.0
    """Deadline of a call, seconds."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        start = 7 * next(_offsets) % len(self.clips)
        self._clips: Iterator[Clip] = itertools.cycle(self.clips[start:] + self.clips[:start])

    def on_start(self) -> None:
        """Open a client of the user's own. Retries are off: a failure is to be counted."""
        self._client = Client(self.url, timeout_s=self.timeout_s, retry=RetryPolicy(max_attempts=1))

    def on_stop(self) -> None:
        """Close the client."""
        self._client.close()

    @locust.task
    def transcribe(self) -> None:
        """Send one clip and report how long its answer took."""
        clip = next(self._clips)
        text, failure = "", None
        began = time.perf_counter()
        try:
            text = self._client.transcribe(clip.audio).text
        except Exception as error:
            failure = error
        self.environment.events.request.fire(
            request_type="grpc",
            name=clip.kind,
            response_time=1000 * (time.perf_counter() - began),
            response_length=len(text.encode()),
            exception=failure,
            context={},
        )
