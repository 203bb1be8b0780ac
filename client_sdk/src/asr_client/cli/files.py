"""`asr transcribe`: writes the transcripts of files to standard output or into a folder."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import closing
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from pathlib import Path

from asr_client._client import Client
from asr_client._errors import AsrError
from asr_client._options import TranscribeOptions
from asr_client._recording import Recording
from asr_client._types import Transcript
from asr_client.cli import subtitles
from asr_client.cli.screen import Screen, describe
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
    files: list[Path],
    targets: list[Path] | None,
    *,
    format: Format,
    concurrency: int,
    options: TranscribeOptions,
) -> int:
    """Transcribe and write all files; returns the number of failed ones."""
    prefixed = format is Format.TEXT and len(files) > 1
    unwritten: dict[int, str] = {}
    following = 0
    tally = Tally()
    recordings = [File(file, position=position) for position, file in enumerate(files)]
    outcomes = client.transcribe_many(recordings, concurrency=concurrency, **options)
    with Screen(len(files)) as screen, closing(outcomes):
        for outcome in outcomes:
            position = outcome.item.position
            file = files[position]
            unwritten[position] = ""
            try:
                transcript = outcome.result()
                text = _written(file, transcript, format)
                if targets is None:
                    unwritten[position] = f"{file}: {text}" if prefixed else text
                else:
                    _replace(targets[position], text)
                tally.transcribed(transcript)
            except (AsrError, OSError, ValueError) as error:
                tally.failed += 1
                screen.problem(f"asr: {file}: {describe(error)}")
            screen.advance(tally.note)
            while following in unwritten:
                screen.result(unwritten.pop(following))
                following += 1
    return tally.failed


def target_paths(files: list[Path], folder: Path, format: Format) -> list[Path]:
    """The output file of each recording.

    Raises:
        ValueError: two of them are the same, or one is a recording.
    """
    suffix = "txt" if format is Format.TEXT else format.value
    targets = [folder / f"{file.stem}.{suffix}" for file in files]
    target, count = Counter(targets).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{count} of the files would be written to {target}")
    for file, target in zip(files, targets, strict=True):
        if file.resolve() == target.resolve():
            raise ValueError(f"{file} would be overwritten by its transcript")
    return targets


def _replace(target: Path, text: str) -> None:
    """Write a file completely or not at all."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _written(file: Path, transcript: Transcript, format: Format) -> str:
    if format is Format.JSON:
        # JSON needs no prefix: each line has the name of its file.
        document = {"file": str(file), **subtitles.fields(transcript)}
        return json.dumps(document, ensure_ascii=False) + "\n"
    return subtitles.FORMATS[format.value](transcript)
