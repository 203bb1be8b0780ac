"""The core of a live stream: which look is due, and what an answer changes. Nothing here waits."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from asr_client import _errors
from asr_client._errors import AsrError, StreamBehind, StreamLost
from asr_client._stream.events import Skipped, StreamEvent
from asr_client._stream.failures import is_fatal, may_have_felled
from asr_client._stream.form import Form, StreamSettings, whole_bytes
from asr_client._stream.look import Look, LookResult, state_place
from asr_client._stream.reported import Reported
from asr_client._wire import ContractError

HOP_S = 0.4
HOP_SHARE = 0.1
"""Of the open segment: each look computes the whole of it."""
MAX_LOOK_S = 60.0
"""The contract's limit."""
CATCH_UP_S = 5.0
"""Beyond `max_segment_s`: so a look always contains the end of a segment."""
MIN_TIMEOUT_S = 5.0
MAX_WAIT_S = 5.0
"""Maximum wait after failed looks."""
RESTART_WAIT_S = 4.0
"""Maximum first wait for the only server, after a process of it died."""
MAX_FELLED = 3
"""A segment is skipped when its looks ended this many processes, or processes of two servers."""
_SKIP_STATE = "9999"
"""A version of the state that no server has: it starts anew, and keeps position and index."""


class StreamCore:
    """The audio that is not final, and the state; not safe for threads.

    Args:
        settings: of the stream.
        form: what the audio is.
        resume: where a lost stream goes on.
        rng: an even draw from [0, 1).
    """

    def __init__(
        self,
        settings: StreamSettings,
        form: Form,
        *,
        resume: StreamLost | None = None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._rng = rng
        self.form = form
        self._audio = bytearray()
        self._front = 0
        """The frame of the stream at which the kept audio begins."""
        self._state: str | None = None
        self._index = 0
        """Of the next segment."""
        if resume is not None:
            self._audio += resume.audio[: whole_bytes(resume.audio, form)]
            self._front = resume.first_frame
            self._state = resume.state
            self._index = 0 if resume.state is None else state_place(resume.state)[1]
        self._looked = self._processed = self._front
        self._reported = Reported(self._front)
        self._flushes: deque[int] = deque()
        """The frames up to which everything is to become final."""
        self._finishing = False
        self._speech = False
        self._look: Look | None = None
        self._again = False
        self._wait_until_s = 0.0
        self._failures = 0
        self._pressed_since_s: float | None = None
        """When the first look failed of those since the last answer that a flush waits for."""
        self._avoid: tuple[str, ...] = ()
        self._felled: list[tuple[int, str]] = []
        """End and server of the looks that ended a process since the last answer."""
        self._skipped = False
        """Whether a segment was skipped since the last answer."""

    @property
    def kept(self) -> bytes:
        """The audio that is not final."""
        return bytes(self._audio)

    @property
    def end(self) -> int:
        """The frame behind all whole frames that were fed."""
        return self._front + len(self._audio) // self.form.frame_bytes

    @property
    def finished(self) -> bool:
        """Whether everything is final and no audio follows."""
        return self._finishing and not self._flushes and self._look is None

    @property
    def flushed(self) -> bool:
        """Whether everything up to the last flush is final."""
        return not self._flushes

    def has_room(self, byte_count: int) -> bool:
        """Whether so much more audio may be fed."""
        frames = self.end - self._processed + byte_count // self.form.frame_bytes
        return frames <= self._settings.max_behind_s * self.form.sample_rate

    def feed(self, pcm: bytes) -> None:
        """Append audio.

        Raises:
            StreamBehind: there is too much audio that no look has reached; nothing was taken.
        """
        if self._finishing:
            raise RuntimeError("the stream is finished")
        if not self.has_room(len(pcm)):
            behind_s = (self.end - self._processed) / self.form.sample_rate
            raise StreamBehind(
                status="RESOURCE_EXHAUSTED",
                server_message=f"{behind_s:.1f} s of audio wait, and the chunk does not fit into "
                f"max_behind_s = {self._settings.max_behind_s:g}",
            )
        self._audio += pcm

    def flush(self) -> None:
        """Make everything final that was fed until now; the stream may go on."""
        last = self._flushes[-1] if self._flushes else self._front
        if self.end > last:
            self._flushes.append(self.end)

    def finish(self) -> None:
        """No audio follows; everything becomes final."""
        if not self._finishing:
            self.flush()
            self._finishing = True

    def wait_s(self, now: float) -> float | None:
        """Seconds until a look may be due without more audio; None if none may."""
        left_s = self._wait_until_s - now
        return left_s if left_s > 0 and self._look is None else None

    def next_look(self, now: float) -> Look | None:
        """The look that is due, if any; `answered` or `failed` must follow."""
        if self._look is not None or now < self._wait_until_s:
            return None
        goal = self._flushes[0] if self._flushes else self.end
        rate = self.form.sample_rate
        catching_up = goal - self._processed > self._settings.segment_s * rate
        most_s = MAX_LOOK_S
        if catching_up:
            most_s = min(MAX_LOOK_S, self._settings.segment_s + CATCH_UP_S)
        until = min(goal, self._front + int(most_s * rate))
        ends = bool(self._flushes) and until == goal
        # Without more looks there would be no room for more audio, and so none for a look.
        crowded = goal - self._processed > self._settings.max_behind_s / 2 * rate
        is_hop = until - self._looked >= self._hop(rate)
        due = ends or catching_up or crowded or self._again or is_hop
        if not due or until == self._front:
            return None
        size = (until - self._front) * self.form.frame_bytes
        self._again = False
        self._look = Look(
            audio=bytes(self._audio[:size]),
            until=until,
            state=self._state,
            end=ends,
            interim=self._settings.interim and not catching_up and not ends,
            timeout_s=self._settings.give_up_s
            if ends
            else max(MIN_TIMEOUT_S, (until - self._front) / rate),
            avoid=self._avoid,
        )
        return self._look

    def answered(self, result: LookResult, now: float) -> list[StreamEvent]:
        """Take the answer of the look under way.

        Raises:
            ContractError: it breaks the contract.
        """
        look = self._taken()
        consumed = result.consumed_bytes
        if not 0 <= consumed <= len(look.audio) or consumed % self.form.frame_bytes:
            raise ContractError(f"{consumed} bytes consumed of {len(look.audio)}")
        if look.end and consumed != len(look.audio):
            raise ContractError(f"{consumed} bytes consumed of {len(look.audio)} at the end")
        # An answer to another look, or of another stream.
        front = self._front + consumed // self.form.frame_bytes
        if result.position != front:
            raise ContractError(f"state is at frame {result.position}, the audio at {front}")
        before = self._processed
        self._looked = look.until
        self._drop(consumed, result.state)
        self._index = result.index
        # Seconds have three decimals.
        far = round(result.processed_s * self.form.sample_rate)
        is_short = far + self.form.sample_rate // 500 < look.until and not look.end
        self._processed = max(self._front, far) if is_short else look.until
        self._speech = result.speech
        self._failures, self._avoid = 0, ()
        self._pressed_since_s = None
        self._felled.clear()
        self._skipped = False
        if consumed or look.end or self._processed > before:
            self._again = is_short
        else:
            self._wait_until_s = now + HOP_S
        return self._reported.events(result)

    def failed(self, error: AsrError, now: float, *, several: bool = False) -> list[StreamEvent]:
        """Take the failure of the look under way: the next one has its audio, and more.

        Args:
            error: why it failed.
            now: seconds that never go back.
            several: whether there are several servers.

        Raises:
            StreamLost: everything was to become final; without `end`, the looks up to there failed
                for `give_up_s`.
            AsrError: the error itself, if the next look would fail alike.
        """
        look = self._taken()
        elsewhere = several and not self._failures and isinstance(error, _errors.ModelNotFound)
        if is_fatal(error) and not elsewhere:
            raise error
        if look.end or self._is_pressed_in_vain(now):
            raise self._lost(error) from error
        self._looked = look.until
        self._failures += 1
        self._avoid = (error.address,)
        bound_s = min(MAX_WAIT_S, HOP_S * 2.0 ** min(self._failures - 1, 16))
        if isinstance(error, _errors.EngineRestarting) and not several:
            bound_s = RESTART_WAIT_S * 3.0 ** len(self._felled)
        self._wait_until_s = now + (0.5 + self._rng() / 2) * bound_s
        if not may_have_felled(error):
            return []
        self._felled.append((look.until, error.address))
        servers = {address for _, address in self._felled}
        if len(servers) < 2 and len(self._felled) < MAX_FELLED:
            return []
        if self._skipped and isinstance(error, _errors.ServerFault):
            # No answer since the last segment was skipped: it is not the audio.
            raise error
        self._skipped = True
        return [self._skip(error)]

    def _taken(self) -> Look:
        look, self._look = self._look, None
        assert look is not None, "no look is under way"
        return look

    def _drop(self, byte_count: int, state: str) -> None:
        del self._audio[:byte_count]
        self._front += byte_count // self.form.frame_bytes
        self._state = state
        while self._flushes and self._flushes[0] <= self._front:
            self._flushes.popleft()

    def _is_pressed_in_vain(self, now: float) -> bool:
        """Whether a flush has waited too long behind looks that fail."""
        if not self._flushes:
            return False
        if self._pressed_since_s is None:
            self._pressed_since_s = now
        return now - self._pressed_since_s >= self._settings.give_up_s

    def _hop(self, rate: int) -> int:
        open_frames = self._looked - self._front if self._speech else 0
        return max(round(HOP_S * rate), round(HOP_SHARE * open_frames))

    def _skip(self, error: AsrError) -> Skipped:
        """Drop what all looks had that ended a process."""
        first, until = self._front, min(until for until, _ in self._felled)
        size = (until - first) * self.form.frame_bytes
        self._drop(size, f"{_SKIP_STATE}:{until}:{self._index}:")
        self._processed = max(self._processed, until)
        self._speech = False
        self._felled.clear()
        self._reported.skip()
        return Skipped(
            first_frame=first,
            frames=until - first,
            start_s=first / self.form.sample_rate,
            end_s=until / self.form.sample_rate,
            error=error,
        )

    def _lost(self, error: AsrError) -> StreamLost:
        return StreamLost(
            audio=self.kept,
            state=self._state,
            first_frame=self._front,
            sample_rate=self.form.sample_rate,
            channels=self.form.channels,
            encoding=self.form.encoding,
            status=error.status,
            server_message=error.server_message,
            code=error.code,
            attempts=error.attempts,
            elapsed_s=error.elapsed_s,
            address=error.address,
            request_id=error.request_id,
        )
