"""Transcribe the recordings in tests/data on a real tritonserver and compare with the model card.

`make demo` runs it. The exit status is 0 when every recording was transcribed and the total word
error rate is not more than 0.05 above the one that the model card states. The decoder is beam
search with the checkpoint's language model, as it is there.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table

from asr_client import AsrError, Client
from tools.local_server import local_server
from tools.recordings import transcripts
from tools.word_errors import word_error_rate

ROOT = Path(__file__).resolve().parents[1]
MODEL_CARD = ROOT / "python_backend/src/asr_backend/demo_checkpoint/README.md"
TOLERANCE = 0.05
"""Word error rate above the model card's that is still accepted."""


def stated_word_error_rate(card: Path) -> float:
    """The word error rate over tests/data that the model card's front matter states."""
    front_matter = yaml.safe_load(card.read_text(encoding="utf-8").split("---\n")[1])
    for result in front_matter["model-index"][0]["results"]:
        if result["dataset"]["name"] == "tests/data recordings":
            return float(next(m["value"] for m in result["metrics"] if m["type"] == "wer"))
    raise ValueError(f"{card} states no word error rate for the tests/data recordings")


def transcribe_all(client: Client, console: Console) -> tuple[list[tuple[str, str]], int]:
    """Show a row for each recording.

    Returns:
        Pairs of true words and transcripts, and the number of failed calls.
    """
    table = Table()
    for title in ("file", "transcript", "true words"):
        table.add_column(title, overflow="fold")
    for title in ("audio, s", "took, s"):
        table.add_column(title, justify="right")
    pairs = []
    failed = 0
    with Live(table, console=console) as live:
        for path, true_words in transcripts():
            started = time.perf_counter()
            try:
                transcript = client.transcribe(path, decoder="beam", timeout_s=120)
            except AsrError as error:
                failed += 1
                table.add_row(path.name, f"[red]{error}", true_words, "", "")
                continue
            took_s = time.perf_counter() - started
            text = transcript.text.lower()
            pairs.append((true_words, text))
            times = (f"{transcript.duration_s:.2f}", f"{took_s:.2f}")
            table.add_row(path.name, text, true_words, *times)
            live.refresh()
    return pairs, failed


def run(console: Console, log_path: Path) -> int:
    """Start, transcribe, stop and judge; returns the exit status."""
    stated = stated_word_error_rate(MODEL_CARD)
    with log_path.open("wb") as log, contextlib.ExitStack() as stack:
        with console.status("starting tritonserver and loading both models"):
            server = stack.enter_context(local_server(log=log))
        console.print(f"tritonserver answers on {server.url}")
        with Client(server.url) as client:
            pairs, failed = transcribe_all(client, console)
        console.print()
        with console.status("stopping the server"):
            stack.close()
    if failed:
        console.print(f"[red]{failed} of {failed + len(pairs)} recordings failed")
        return 1
    rate = word_error_rate(pairs)
    console.print(f"word error rate {rate:.3f}; the model card states {stated:.3f}")
    if rate > stated + TOLERANCE:
        console.print(f"[red]that is more than {TOLERANCE} above it")
        return 1
    return 0


def main() -> int:
    """Run the demo, and keep the server's log where it failed."""
    console = Console()
    with tempfile.NamedTemporaryFile(prefix="asr-demo-", suffix=".log", delete=False) as file:
        log_path = Path(file.name)
    try:
        status = run(console, log_path)
    except RuntimeError as error:
        console.print(f"[red]{error}")
        status = 1
    except KeyboardInterrupt:
        status = 130
    if status:
        console.print(f"the server's log is {log_path}")
    else:
        log_path.unlink()
    return status


if __name__ == "__main__":
    sys.exit(main())
