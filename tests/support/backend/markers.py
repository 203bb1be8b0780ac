"""Recordings of tones at known times, files made of them, and libav's own times for them.

Marker k is a tone of its own frequency that begins at k * MARKER_STEP_S. So lost or moved audio
shows as markers that are missing or elsewhere.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import av.filter
import numpy as np
import numpy.typing as npt

MARKER_STEP_S = 0.5
MARKER_S = 0.25
_FIRST_HZ, _STEP_HZ = 400.0, 170.0
_HOP = 160
_FRAME = 640


def markers(count: int, rate_hz: int, *, first: int = 0) -> npt.NDArray[np.int16]:
    """A recording with `count` markers from number `first` on, int16 [samples]."""
    samples = np.zeros(round(count * MARKER_STEP_S * rate_hz))
    for index in range(count):
        start = round(index * MARKER_STEP_S * rate_hz)
        times = np.arange(round(MARKER_S * rate_hz)) / rate_hz
        samples[start : start + len(times)] = 0.4 * np.sin(
            2 * np.pi * _frequency(first + index) * times
        )
    return np.round(samples * 32767).astype("<i2")


def found_markers(samples: npt.NDArray[np.float32], count: int) -> dict[int, list[float]]:
    """Onsets in seconds of the markers in 16 kHz audio, by number; the missing ones are left out.

    A marker is there if its tone has an eighth of its seconds or more. Damage may leave several
    parts of it.
    """
    frames = np.lib.stride_tricks.sliding_window_view(
        np.pad(samples, (_FRAME // 2, _FRAME)), _FRAME
    )[::_HOP]
    window = np.hanning(_FRAME)
    times = np.arange(_FRAME) / 16_000
    waves = np.exp(2j * np.pi * np.outer(times, [_frequency(index) for index in range(count)]))
    levels = np.abs((frames * window) @ waves) / window.sum() * 2
    found = {}
    for index in range(count):
        loud = levels[:, index] > 0.12
        if loud.sum() * _HOP / 16_000 >= MARKER_S / 8:
            onsets = np.flatnonzero(np.diff(loud, prepend=False) & loud)
            found[index] = (onsets * _HOP / 16_000).tolist()
    return found


def _frequency(index: int) -> float:
    return _FIRST_HZ + _STEP_HZ * index


def remuxed(
    data: bytes,
    container: str,
    change: Callable[[int, Any], int | None] = lambda index, packet: packet.pts,
) -> bytes:
    """Write the packets of a file again.

    Args:
        data: the file.
        container: libav's name for the new file's format.
        change: takes the number of a packet and the packet; returns its new timestamp in the
            stream's time base, None to drop the packet.
    """
    target = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(target, "w", format=container) as output:
        stream = source.streams.audio[0]
        copy = output.add_stream_from_template(stream)
        for index, packet in enumerate(p for p in source.demux(stream) if p.size):
            pts = change(index, packet)
            if pts is None:
                continue
            packet.pts = packet.dts = pts
            packet.stream = copy
            output.mux(packet)
    return target.getvalue()


def by_async_resample(data: bytes) -> npt.NDArray[np.float32]:
    """The audio as `ffmpeg -af aresample=async=1:first_pts=0` has it, float32 at 16 kHz, mono.

    Packets that fail are left out, as ffmpeg does.
    """
    blocks = []
    with av.open(io.BytesIO(data), metadata_errors="replace") as container:
        stream = container.streams.audio[0]
        start = Fraction(container.start_time or 0, av.time_base)
        graph: Any = None
        for packet in container.demux(stream):
            try:
                frames: list[Any] = list(stream.codec_context.decode(packet))
            except av.error.FFmpegError:
                continue
            for frame in frames:
                if graph is None:
                    graph = _async_graph(frame, stream)
                if frame.pts is not None:
                    frame.pts -= round(start / stream.time_base)
                    frame.time_base = stream.time_base
                graph.push(frame)
                blocks += _pulled(graph)
        if graph is not None:
            graph.push(None)
            blocks += _pulled(graph)
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _async_graph(frame: Any, stream: Any) -> Any:
    graph = av.filter.Graph()
    source = graph.add(
        "abuffer",
        time_base=str(stream.time_base),
        sample_rate=str(frame.sample_rate),
        sample_fmt=frame.format.name,
        channel_layout=frame.layout.name,
    )
    resample = graph.add("aresample", "16000:async=1:first_pts=0")
    mono = graph.add("aformat", "sample_fmts=flt:channel_layouts=mono")
    sink = graph.add("abuffersink")
    source.link_to(resample)
    resample.link_to(mono)
    mono.link_to(sink)
    graph.configure()
    return graph


def _pulled(graph: Any) -> list[npt.NDArray[np.float32]]:
    blocks = []
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return blocks
        blocks.append(frame.to_ndarray()[0].copy())
