"""`asr batch`: transcribes the recordings of a manifest into a results file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from asr_client._client import Client
from asr_client._errors import (
    AsrError,
    AuthenticationError,
    Cancelled,
    DeadlineExceeded,
    EngineRestarting,
    ModelNotFound,
    OutOfMemory,
    ServerUnavailable,
)
from asr_client._options import TranscribeOptions
from asr_client._recording import Outcome
from asr_client._transport.retry import RetryPolicy
from asr_client._types import Timestamps
from asr_client.cli import documents
from asr_client.cli.manifest import Line, read_keys, read_lines
from asr_client.cli.results import Results, ResultsError
from asr_client.cli.screen import Screen, describe, warnings
from asr_client.cli.tally import Tally

PATIENT = RetryPolicy(
    max_attempts=1_000_000, initial_backoff_s=0.5, max_backoff_s=15.0, budgeted=False
)
"""Retries until the time limit of the recording, so that a restart of the server loses none."""

FIRST_CONTACT_S = 10.0
"""How long to look for a server before the first recording."""
_STATUS_S = 5.0
_PAUSE_S = 0.5

_EVERY_LINE_ALIKE = (ServerUnavailable, AuthenticationError, ModelNotFound, Cancelled)
_THIS_LINE_PERHAPS = (OutOfMemory, EngineRestarting)


class Stopped(Exception):
    """The work cannot continue now; the text has the reason."""


def transcribe_manifest(
    client: Client,
    manifest: Path,
    output: Path,
    *,
    retry_failed: bool,
    concurrency: int,
    options: TranscribeOptions,
) -> bool:
    """Transcribe all lines without a result; returns whether each line has a transcript now.

    Raises:
        ManifestError, ResultsError: a file has the wrong format or cannot be used.
        Stopped: the server is gone or refuses every recording, or the disk is full.
    """
    tally = Tally()
    keys = read_keys(manifest)
    try:
        if output.exists() and output.samefile(manifest):
            raise ResultsError(f"{output} is the manifest")
        with Results(output, drop_failed=retry_failed) as results:
            total, before = len(keys), len(keys & results.done)
            failed_before = len(keys & results.failed)
            strangers = len(results.done - keys)
            del keys
            try:
                if total > before:
                    _reach(client)
                with Screen(total, done=before) as screen:
                    _run(client, manifest, results, screen, tally, concurrency, options)
            finally:
                _report(tally, total, before)
    except OSError as error:
        raise Stopped(f"{error.filename or output}: {describe(error)}") from error
    if strangers:
        _say(f"{strangers} results belong to no line of this manifest")
    if failed_before:
        _say(f"{failed_before} lines failed before; --retry-failed tries them again")
    return not (tally.failed or failed_before)


def _reach(client: Client) -> None:
    """Return once a server answers; later ones may restart for as long as a recording may take.

    Raises:
        Stopped: none does: the address is probably wrong.
    """
    ends_s = time.monotonic() + FIRST_CONTACT_S
    said = False
    while True:
        try:
            client.status(timeout_s=_STATUS_S)
            return
        except AsrError as error:
            if time.monotonic() >= ends_s:
                raise Stopped(describe(error)) from error
            if not said:
                _say(f"no server answers, trying for {FIRST_CONTACT_S:g} s")
                said = True
        time.sleep(_PAUSE_S)


def _run(
    client: Client,
    manifest: Path,
    results: Results,
    screen: Screen,
    tally: Tally,
    concurrency: int,
    options: TranscribeOptions,
) -> None:
    remaining = _Remaining(manifest, results)
    outcomes = client.transcribe_many(remaining, concurrency=concurrency, retry=PATIENT, **options)
    with closing(outcomes):
        for outcome in outcomes:
            if outcome.error is not None and _hits_every_line(outcome.error):
                raise Stopped(describe(outcome.error)) from outcome.error
            line = outcome.item
            fields = _fields(outcome, line.timestamps or options.get("timestamps", "word"))
            results.write(line.key, {"audio": line.name, **fields})
            if remaining.ended:
                results.sync()
            if outcome.transcript is not None:
                tally.transcribed(outcome.transcript)
                if noticed := warnings(line.name, outcome.transcript):
                    screen.problem(noticed)
            elif outcome.error is not None:
                tally.failed += 1
                where = line.name if line.id is None else f"{line.key} ({line.name})"
                screen.problem(f"asr: {where}: {describe(outcome.error)}")
            screen.advance(tally.note)


def _report(tally: Tally, total: int, before: int) -> None:
    earlier = f", {before} before" if before else ""
    _say(f"{tally.done} of {total} lines in {tally.elapsed_s:.0f} s{earlier}: {tally.note}")


def _say(words: str) -> None:
    print(f"asr: {words}", file=sys.stderr)


def _hits_every_line(error: BaseException | None) -> bool:
    if isinstance(error, DeadlineExceeded):
        # Its cause shows whether the server could not be reached all the time.
        return _hits_every_line(error.__cause__)
    return isinstance(error, _EVERY_LINE_ALIKE) and not isinstance(error, _THIS_LINE_PERHAPS)


class _Remaining(Iterator[Line]):
    """The lines without a result. Before each one, all results so far are written to the disk."""

    def __init__(self, manifest: Path, results: Results) -> None:
        self._lines = read_lines(manifest)
        self._results = results
        self._finished_before = results.done
        self.ended = False

    def __next__(self) -> Line:
        self._results.sync()
        for line in self._lines:
            if line.key not in self._finished_before:
                return line
        self.ended = True
        raise StopIteration


def _fields(outcome: Outcome[Line], timestamps: Timestamps) -> dict[str, Any]:
    try:
        return documents.result(outcome.result(), timestamps)
    except (AsrError, OSError, TypeError, ValueError) as failure:
        error = failure
    # Every other error is a defect of this program, and is raised.
    code = error.code if isinstance(error, AsrError) else None
    kind = type(error).__name__
    return {"error": {"code": code, "kind": kind, "message": describe(error)}}
