"""A file of any kind: its links, its clock and its channels, as one recording."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from asr_backend.audio.clock import MAX_DRIFT_S, MAX_START_DRIFT_S, Clock, Gap
from asr_backend.audio.containers import Container, interleaved
from asr_backend.audio.ebml import breaks_off, damaged_cluster
from asr_backend.audio.format import Channel, Samples
from asr_backend.audio.lengths import stated_bytes
from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.mixing import Mixer
from asr_backend.audio.ogg import Link, find_links
from asr_backend.audio.warning import WarningCode, WarningList
from asr_backend.errors import AsrError, ErrorCode

MIN_LOSS_S = MAX_DRIFT_S
"""A file that ends earlier than it states has a warning from this difference on."""


class MediaFile:
    """An open file that libav reads.

    Args:
        view: the whole file; not copied.

    Attributes:
        channels: channels of the audio; of the links of a chained Ogg file, the maximum.
        duration_s: seconds that the file states or that libav estimates; None where there is
            neither.
        warnings: complete when `pieces` has ended.

    Raises:
        AsrError: UNSUPPORTED_FORMAT, CORRUPT_AUDIO, BAD_SAMPLE_RATE.
    """

    def __init__(self, view: memoryview) -> None:
        self.warnings = WarningList()
        self._view = view
        self._links = find_links(view) if bytes(view[:4]) == b"OggS" else [Link(end=view.nbytes)]
        self._container = Container(self._part(self._links[0]))
        self.channels = max(self._container.channels, *(link.channels for link in self._links), 0)
        self.duration_s = self._container.duration_s
        if self.duration_s is not None:
            # The other links are taken to have as many bytes a second.
            self.duration_s *= view.nbytes / self._links[0].end
        # End of the links before, and the clock of the present one.
        self._before_s = 0.0
        self._clock = Clock()
        self._sample_count = 0

    def pieces(
        self, channel: Channel, limits: AudioLimits
    ) -> Generator[tuple[int, Samples] | Gap, None, None]:
        """Yield (sample rate in Hz, at most a second of float32 [frames] mono), and gaps.

        To be called once.

        Raises:
            AsrError: CORRUPT_AUDIO, UNSUPPORTED_FORMAT, BAD_SAMPLE_RATE; BAD_OPTIONS for a channel
                that the audio does not have; AUDIO_TOO_LONG for the length that the file states,
                and for too many samples, stated or decoded.
        """
        mixer = Mixer(channel, self.channels)
        for index, link in enumerate(self._links):
            if index and not self._open_next(link):
                break
            self._container.check_stated(limits)
            yield from self._link_pieces(mixer, channel, limits)
            self._check_link(link)
        mixer.report(self.warnings)

    def _open_next(self, link: Link) -> bool:
        """Open a later link; False if the file breaks off in its header."""
        self._before_s += self._clock.position_s
        self._clock = Clock()
        self._container.close()
        try:
            self._container = Container(self._part(link))
        except AsrError as error:
            if link is self._links[-1] and not link.has_end:
                self._warn_early("the header of the next part of the chain is incomplete")
                return False
            raise AsrError(
                ErrorCode.CORRUPT_AUDIO,
                f"the part of the chain at {self._position_s():.2f} s cannot be read: "
                f"{error.detail}",
            ) from None
        return True

    def close(self) -> None:
        """Close the file and release its bytes."""
        self._view = memoryview(b"")
        self._container.close()

    def _part(self, link: Link) -> memoryview:
        return self._view[link.start : link.end]

    def _position_s(self) -> float:
        return self._before_s + self._clock.position_s

    def _link_pieces(
        self, mixer: Mixer, channel: Channel, limits: AudioLimits
    ) -> Iterator[tuple[int, Samples] | Gap]:
        following_s: float | None = None
        is_named = False
        for at_s, frame in self._container.frames(self.warnings, self._position_s):
            samples, rate_hz = interleaved(frame), frame.sample_rate
            self._sample_count += samples.size
            limits.check_samples(self._sample_count)
            if at_s is not None and following_s is not None and self._container.is_exact:
                self._check_exact(at_s - following_s)
            following_s = None if at_s is None else at_s + len(samples) / rate_hz
            if (gap_s := self._place(at_s)) > 0:
                yield from mixer.flush()
                yield Gap(seconds=gap_s)
            overlap_s = self._clock.overlap(len(samples) / rate_hz)
            samples = samples[round(overlap_s * rate_hz) :]
            if channel != "mix" and samples.shape[1] > self.channels and not is_named:
                is_named = True
                self._warn(
                    WarningCode.AUDIO_DAMAGED,
                    f"the audio has {samples.shape[1]} channels at {self._position_s():.2f} s, and "
                    f"{self.channels} at its start",
                )
            if len(samples):
                yield from mixer.push(samples, rate_hz)
        yield from mixer.flush()

    def _place(self, at_s: float | None) -> float:
        """Place the next frame on the clock; return what `Clock.place` does."""
        before_s = self._position_s()
        difference_s = self._clock.place(at_s)
        if difference_s > 0:
            if difference_s > MAX_DRIFT_S:
                self._warn(
                    WarningCode.AUDIO_GAP,
                    f"the file has no audio from {before_s:.2f} s to {self._position_s():.2f} s",
                )
        elif difference_s < -MAX_DRIFT_S or (difference_s < 0 and before_s > self._before_s):
            # A little audio before the start is the encoder's delay, which an edit list leaves out.
            self._warn(
                WarningCode.AUDIO_DAMAGED,
                f"the timestamps go back by {-difference_s:.2f} s at {before_s:.2f} s, and as much "
                "audio is dropped",
            )
        return difference_s

    def _check_exact(self, jump_s: float) -> None:
        if MAX_START_DRIFT_S < jump_s <= MAX_DRIFT_S:
            self._warn(
                WarningCode.AUDIO_DAMAGED,
                f"{jump_s:.3f} s of audio are missing at {self._position_s():.2f} s",
            )

    def _check_link(self, link: Link) -> None:
        """Compare the end of the audio with what the file states."""
        end_s = self._clock.position_s
        if link.damage:
            self._warn(WarningCode.AUDIO_DAMAGED, link.damage)
        if (at := damaged_cluster(self._part(link))) is not None:
            self._warn(
                WarningCode.AUDIO_DAMAGED, f"the checksum of the cluster at byte {at} is wrong"
            )
        if link.is_ogg and not link.has_end:
            self._warn_early("the file's last page is missing")
        elif (stated_s := self._container.stated_s or 0.0) > end_s + MIN_LOSS_S:
            self._warn_early(f"the file states {stated_s:.2f} s")
        elif breaks_off(self._part(link)):
            self._warn_early("the last block of the file is incomplete")
        elif (stated := stated_bytes(self._part(link))) is not None and stated.present:
            missing_s, unread_s = (
                count / stated.present * end_s
                for count in (stated.stated - stated.present, stated.unread)
            )
            if missing_s > MIN_LOSS_S:
                missing = stated.stated - stated.present
                self._warn_early(f"{missing} of the {stated.stated} stated bytes are missing")
            if unread_s > MIN_LOSS_S:
                self._warn(
                    WarningCode.AUDIO_DAMAGED,
                    f"{stated.unread} bytes follow the end of the audio that the header states",
                )

    def _warn_early(self, why: str) -> None:
        self._warn(
            WarningCode.AUDIO_ENDS_EARLY, f"the audio ends at {self._position_s():.2f} s: {why}"
        )

    def _warn(self, code: WarningCode, message: str) -> None:
        self.warnings.add(code, message)
