"""`asr transcribe`: writes the transcripts of files to standard output or into a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from pathlib import Path

from asr_client._client import Client
from asr_client._errors import AsrError
from asr_client._options import TranscribeOptions
from asr_client._recording import Recording
from asr_client._types import Timestamps, Transcript
from asr_client.cli import documents, subtitles
from asr_client.cli.inputs import Input
from asr_client.cli.screen import Screen, describe, warnings
from asr_client.cli.tally import Tally


class Format(str, Enum):
    """Output formats of a transcript."""

    TEXT = "text"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"


@dataclass(frozen=True, eq=False, repr=False)
class File(Recording):
    """A file and its position on the command line."""

    _: KW_ONLY
    position: int


def transcribe_files(
    client: Client,
    inputs: Sequence[Input],
    targets: list[Path] | None,
    *,
    format: Format,
    concurrency: int,
    options: TranscribeOptions,
) -> int:
    """Transcribe and write all files; returns the number of failed ones."""
    prefixed = format is Format.TEXT and len(inputs) > 1
    timestamps = options.get("timestamps", "word")
    unwritten: dict[int, str] = {}
    following = 0
    tally = Tally()
    recordings = [File(one.audio, position=position) for position, one in enumerate(inputs)]
    outcomes = client.transcribe_many(recordings, concurrency=concurrency, **options)
    with Screen(len(inputs)) as screen, closing(outcomes):
        for outcome in outcomes:
            position = outcome.item.position
            file = inputs[position].name
            unwritten[position] = ""
            try:
                transcript = outcome.result()
                text = _written(file, transcript, format, timestamps)
                if targets is None:
                    unwritten[position] = f"{file}: {text}" if prefixed else text
                else:
                    _replace(targets[position], text)
                tally.transcribed(transcript)
                if noticed := warnings(str(file), transcript):
                    screen.problem(noticed)
            except (AsrError, OSError, ValueError) as error:
                tally.failed += 1
                screen.problem(f"asr: {file}: {describe(error)}")
            screen.advance(tally.note)
            while following in unwritten:
                screen.result(unwritten.pop(following))
                following += 1
    return tally.failed


def _replace(target: Path, text: str) -> None:
    """Write a file completely or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _written(name: str, transcript: Transcript, format: Format, timestamps: Timestamps) -> str:
    if format is Format.JSON:
        # JSON needs no prefix: each line has the name of its file.
        return documents.line({"file": name, **documents.result(transcript, timestamps)})
    return subtitles.FORMATS[format.value](transcript)
