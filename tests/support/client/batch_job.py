"""A manifest for `asr batch`, its server and its results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from asr_client.cli.commands import app
from asr_client.testing import FakeServer
from tests.support.recordings import FOLDER

CARD = FOLDER / "cards-003-seven-of-clubs.wav"
ASR = "from asr_client.cli import main; main()"


class Job:
    """A manifest of small recordings, its results, and the server."""

    def __init__(self, folder: Path, server: FakeServer) -> None:
        self.manifest = folder / "manifest.jsonl"
        self.output = folder / "results.jsonl"
        self.server = server
        self.processes: list[subprocess.Popen[Any]] = []
        (folder / "card.wav").write_bytes(CARD.read_bytes())

    def lines(self, *lines: dict[str, Any]) -> None:
        self.manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def cards(self, count: int) -> None:
        self.lines(*({"audio": "card.wav", "id": number} for number in range(count)))

    def arguments(self, *more: str) -> list[str]:
        files = [str(self.manifest), "--output", str(self.output)]
        return ["batch", *files, "--url", self.server.url, *more]

    def run(self, *more: str) -> Result:
        return CliRunner().invoke(app, self.arguments(*more))

    def start(self, *more: str, code: str = ASR, **settings: Any) -> subprocess.Popen[Any]:
        command = [sys.executable, "-c", code, *self.arguments(*more)]
        stderr = settings.pop("stderr", subprocess.PIPE)
        self.processes.append(subprocess.Popen(command, stderr=stderr, **settings))
        return self.processes[-1]

    def end(self) -> None:
        """Leaves nothing to the tests after this one, whatever failed."""
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()

    def results(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def ids(self) -> list[Any]:
        return [result["id"] for result in self.results()]

    def whole_lines(self) -> int:
        return self.output.read_bytes().count(b"\n") if self.output.exists() else 0
