"""Subtitles in SubRip's format, made from the words' times.

`asr transcribe FILE --format srt` does this with more care for line breaks and reading time; here
is how to make a format of your own.

python 04_subtitles.py recording.wav --url localhost:8001 > recording.srt
"""

import argparse
import os
from collections.abc import Iterator, Sequence

from asr_client import Client, Word

PAUSE_S = 0.6
LONGEST_S = 5.0


def captions(words: Sequence[Word]) -> Iterator[list[Word]]:
    """Words that are shown together: up to a pause, and for some seconds at most."""
    caption: list[Word] = []
    for word in words:
        if caption and (
            word.start_s - caption[-1].end_s > PAUSE_S
            or word.end_s - caption[0].start_s > LONGEST_S
        ):
            yield caption
            caption = []
        caption.append(word)
    if caption:
        yield caption


def clock(time_s: float) -> str:
    """HH:MM:SS,mmm."""
    seconds, ms = divmod(round(time_s * 1000), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{ms:03d}"


def main() -> None:
    """Write subtitles to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--url", default=os.environ.get("ASR_URL", "localhost:8001"))
    args = parser.parse_args()

    with Client(args.url, timeout_s=600) as client:
        transcript = client.transcribe(args.file, timestamps="word")
    for number, caption in enumerate(captions(transcript.words), 1):
        print(number)
        print(f"{clock(caption[0].start_s)} --> {clock(caption[-1].end_s)}")
        print(" ".join(word.text for word in caption))
        print()


if __name__ == "__main__":
    main()
