"""What streams understand, and what that costs: the table of words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.live.streams import (
    FRAME_BYTES,
    PCM,
    RATE_HZ,
    Played,
    call,
    channel,
    percentiles,
    play_together,
    talk,
    value,
)
from tools.local_server import LocalServer
from tools.markdown import head, row
from tools.word_errors import word_error_rate

HOP_S = 0.4
STREAMS = (1, 4)
DECODERS = ("greedy", "beam")
COLUMNS = (
    *("streams", "decoder", "interim p50/p95, ms", "last word to final p50/p95, s", "looks/s"),
    *("computed s a live s", "kB/s sent", "stable words wrong", "WER", "WER of the file"),
)


def lines(server: LocalServer) -> Iterator[str]:
    """The lines of the table, as they are known."""
    yield head(*COLUMNS)
    for decoder in DECODERS:
        for count in STREAMS:
            yield _row(server, decoder, count)


def _row(server: LocalServer, decoder: str, count: int) -> str:
    names = ("asr_stream_computed_seconds_total", "asr_stream_audio_seconds_total")
    talks = [talk(seed) for seed in range(count)]
    before = server.metrics()
    audios = [audio for audio, _ in talks]
    played = play_together(server.url, audios, decoder=decoder, hop_s=HOP_S)
    after = server.metrics()
    computed, live = (value(after, name) - value(before, name) for name in names)
    seconds = sum(map(len, audios)) / FRAME_BYTES / RATE_HZ
    with channel(server.url) as opened:
        options = {**PCM, "decoder": decoder}
        whole = [call(opened, "transcribe", audio, options)["text"] for audio in audios]
    words = [text for _, text in talks]
    found = [" ".join(one.texts) for one in played]
    return row(
        *(str(count), decoder),
        percentiles([x for one in played for x in one.interim_s], 1000, 0),
        percentiles([x for one in played for x in one.final_s], 1, 2),
        f"{sum(one.looks for one in played) / seconds:.1f}",
        f"{computed / live:.2f}",
        f"{sum(one.sent_bytes for one in played) / seconds / 1000:.0f}",
        f"{_wrong_stable(played):.3f}",
        f"{word_error_rate(zip(words, found, strict=True)):.3f}",
        f"{word_error_rate(zip(words, whole, strict=True)):.3f}",
    )


def _wrong_stable(played: Sequence[Played]) -> float:
    """The share of stable words shown that their final does not have at their place."""
    shown = wrong = 0
    for one in played:
        finals = dict(enumerate(text.split() for text in one.texts))
        for index, words in one.stable:
            final = finals.get(index, [])
            shown += len(words)
            wrong += sum(final[place : place + 1] != [word] for place, word in enumerate(words))
    return wrong / max(1, shown)
