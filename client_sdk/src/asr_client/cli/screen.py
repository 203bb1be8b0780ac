"""Standard output and standard error of the command, with a progress bar on a terminal."""

from __future__ import annotations

import codecs
import io
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from asr_client._errors import AsrError
from asr_client._telemetry import Attempt
from asr_client._transport.retry import DEFAULT_RECONNECT_S
from asr_client._transport.statuses import may_come_back
from asr_client._types import Transcript


def show_any_letter() -> None:
    """Let both outputs show any text, so that no result is lost to its display.

    ASCII, as of LANG=C, becomes UTF-8; another encoding gets `?` for what it lacks. The bytes of a
    file's name that are not UTF-8 are written as they are.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if codecs.lookup(stream.encoding).name in ("ascii", "utf-8"):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
        else:
            stream.reconfigure(errors="replace")


class Screen:
    """Results go to standard output, problems and the progress bar to standard error.

    Args:
        total: the number of recordings.
        done: how many of them are finished already.
    """

    def __init__(self, total: int, *, done: int = 0) -> None:
        self._progress = Progress(
            TextColumn("transcribing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
            # Otherwise rich sends standard output to standard error.
            redirect_stdout=False,
        )
        self._task = self._progress.add_task("", total=total, completed=done, note="")

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Older versions of rich end a disabled bar with an empty line.
        if not self._progress.disable:
            self._progress.stop()

    def advance(self, note: str = "") -> None:
        """Count one more recording; the note is shown beside the bar."""
        self._progress.update(self._task, advance=1, note=note)

    def result(self, text: str) -> None:
        """Write to standard output."""
        if sys.stdout.isatty() and not self._progress.disable:
            # Both are the same terminal: only the bar's own console can write above the bar.
            self._above_the_bar(text)
        else:
            sys.stdout.write(text)
            sys.stdout.flush()

    def problem(self, text: str) -> None:
        """Write a line to standard error."""
        self._above_the_bar(text + "\n")

    def _above_the_bar(self, text: str) -> None:
        self._progress.console.print(
            text, end="", soft_wrap=True, markup=False, highlight=False, emoji=False
        )


def warnings(name: str, transcript: Transcript) -> str:
    """The warnings about a recording as lines for a person; empty if there are none."""
    return "\n".join(
        f"asr: {name}: warning: {one.code}: {one.message}" for one in transcript.warnings
    )


class WaitingNotice:
    """Prints once to standard error that a server cannot be reached, and for how long to wait."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, attempt: Attempt) -> None:
        """The `on_attempt` hook of a client."""
        error = attempt.error
        if self._said or error is None or not attempt.pause_s:
            return
        if may_come_back(error.status, error.server_message):
            self._said = True
            text = f"asr: {attempt.address} cannot be reached, trying for {DEFAULT_RECONNECT_S:g} s"
            print(text, file=sys.stderr)


def describe(error: BaseException) -> str:
    """An error as one line for a person."""
    if isinstance(error, AsrError):
        return f"{error}: {error.server_message}" if error.server_message else str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
