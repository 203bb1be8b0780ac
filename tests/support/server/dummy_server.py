"""An asr-server in a process of its own, with models that only sleep: they load in no time."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import tritonclient.grpc as grpcclient

from asr_backend.triton_io.progress import HANG_S
from tests.support.server import metrics_page

MODELS = ("wav2vec2", "transcribe")
STREAM = "transcribe_stream"
"""A model that is served too with the flag --stream-frontends; it works as `transcribe` does."""
_CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 8
input [ {{ name: "SECONDS" data_type: TYPE_FP32 dims: [ 1 ] }} ]
output [ {{ name: "PID" data_type: TYPE_INT32 dims: [ 1 ] }} ]
dynamic_batching {{ }}
parameters {{ key: "control" value {{ string_value: "{control}" }} }}
"""
DROPPED, ASKED_AFTER_THE_ANSWER = -1.0, -2.0
"""Seconds that make `transcribe` drop the call, and ask of an answered one whether its caller has
gone."""
_INITIALIZE = (
    f"""
DROPPED, ASKED_AFTER_THE_ANSWER = {DROPPED}, {ASKED_AFTER_THE_ANSWER}
"""
    + """
import asyncio, json, os, pathlib, time, uuid
import numpy as np
import triton_python_backend_utils as pb_utils
from asr_backend.triton_io.progress import Progress

class TritonPythonModel:
    def initialize(self, args):
        control = json.loads(args["model_config"])["parameters"]["control"]["string_value"]
        self.control, self.name = pathlib.Path(control), args["model_name"]
        for file in self.control.glob(f"fail-{self.name}*"):
            if file.name.endswith("-once"):
                file.unlink()
            raise RuntimeError("asked to fail")
        self.tasks = set()
        self.progress = Progress.of_this_process()

    def begin(self, request):
        (self.control / f"begun-{self.name}-{os.getpid()}-{uuid.uuid4()}").touch()
        return pb_utils.get_input_tensor_by_name(request, "SECONDS").as_numpy().item()

    def answer(self):
        return pb_utils.InferenceResponse([pb_utils.Tensor("PID", np.array([[os.getpid()]], "i4"))])
"""
)
_EXECUTE = {
    "wav2vec2": """
    def execute(self, requests):
        with self.progress.work():
            time.sleep(max(self.begin(request) for request in requests))
        return [self.answer() for _ in requests]
""",
    # Answers after `execute` has returned, as the fronts do, and is never quite idle at work.
    "transcribe": """
    async def execute(self, requests):
        self.progress.beat_with(asyncio.get_running_loop())
        for request in requests:
            task = asyncio.create_task(self.work(request))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def work(self, request):
        seconds, sender = self.begin(request), request.get_response_sender()
        if seconds == DROPPED:
            return
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            busy = time.process_time() + 0.01
            while time.process_time() < busy:
                pass
            await asyncio.sleep(0.1)
        sender.send(self.answer(), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        if seconds == ASKED_AFTER_THE_ANSWER:
            sender.is_cancelled()
""",
}
_PROGRAM = """
import dataclasses, sys
from pathlib import Path
from asr_backend.server.supervise import hang_detector, supervisor
from asr_backend.server.cli import main
supervisor.MODELS = [dataclasses.replace(spec, idle_s=2.0) for spec in supervisor.MODELS]
hang_detector.HANG_S = supervisor.HANG_S = float(sys.argv[2])
raise SystemExit(main(sys.argv[3:], packaged=Path(sys.argv[1])))
"""


class DummyServer:
    """A started server; `folder` is its scratch space."""

    def __init__(self, folder: Path, *flags: str, hang_s: float = HANG_S) -> None:
        self.control = folder / "control"
        self.control.mkdir()
        self.run_dir = folder / "run"
        for name in (*MODELS, STREAM):
            version = folder / "models" / name / "1"
            version.mkdir(parents=True)
            (version / "model.py").write_text(_INITIALIZE + _EXECUTE[name.removesuffix("_stream")])
            config = _CONFIG.format(name=name, control=self.control)
            (version.parent / "config.pbtxt").write_text(config)
        free = [f"--{use}-port=0" for use in ("grpc", "metrics", "health")]
        self.log = folder / "log"
        log = self.log.open("wb")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", _PROGRAM, str(folder / "models"), str(hang_s)),
                # In fp32 there is nothing to measure and to prepare.
                *(f"--run-dir={self.run_dir}", "--device=cpu", "--precision=fp32", *free),
                *("--instances=2", "--frontends=2", "--stream-frontends=0", *flags),
            ],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        self.url = self.metrics_url = self.health_url = ""
        self._seen: set[psutil.Process] = set()

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = re.fullmatch(
            r"asr-server ready: grpc (\S+)(?:, http \S+)?, metrics (\S+), health (\S+)/readyz\n",
            line,
        )
        assert match, f"{line!r}\n{self.log.read_text()}"
        self.url, self.metrics_url, self.health_url = match.groups()
        hint = self.process.stdout.readline()
        match = re.match(rf"try: (\S*asr) transcribe FILE --url {re.escape(self.url)}", hint)
        assert match, hint
        assert shutil.which(match[1]), hint
        self.remember()

    def remember(self) -> None:
        """Notes the processes there are, to ask later whether one is left."""
        self._seen |= set(psutil.Process(self.process.pid).children(recursive=True))

    def stubs(self, model: str) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                line = child.cmdline()
                if len(line) > 2 and line[1].endswith(f"/{model}/1/model.py"):
                    found.append(child)
        return found

    def triton(self) -> psutil.Process:
        (found,) = (
            child
            for child in psutil.Process(self.process.pid).children()
            if child.name() == "tritonserver"
        )
        return found

    def leftovers(self) -> list[str]:
        """Processes, shared-memory regions and files that outlived the server."""
        left = [str(p) for p in self._seen if p.is_running() and p.status() != "zombie"]
        regions = Path("/dev/shm").glob(f"asr-server-{self.process.pid}-*")
        left += [str(path) for path in regions]
        return left + [str(path) for path in self.run_dir.glob("*")]

    def begun(self, model: str, pid: int | str = "*") -> int:
        """Calls that the model, or one process of it, has in its hands or has had."""
        return len(list(self.control.glob(f"begun-{model}-{pid}-*")))

    def queued(self, model: str) -> float:
        """Calls that Triton keeps for the model."""
        with urllib.request.urlopen(self.metrics_url, timeout=10) as page:
            text = page.read().decode()
        return metrics_page.value(text, "nv_inference_pending_request_count", model=model)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.health_url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def ready(self) -> tuple[int, dict]:
        status, body = self.get("/readyz")
        return status, json.loads(body)

    def call(self, model: str, seconds: float = 0.0, *, timeout_s: float = 60.0) -> int:
        """One call that takes `seconds`; returns the id of the process that answered."""
        tensor = grpcclient.InferInput("SECONDS", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.array([[seconds]], np.float32))
        with grpcclient.InferenceServerClient(self.url) as client:
            result = client.infer(model, [tensor], client_timeout=timeout_s)
        return int(result.as_numpy("PID").item())

    def call_in_background(self, model: str, seconds: float) -> Call:
        return Call(lambda: self.call(model, seconds))

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


class Call(threading.Thread):
    """A call under way."""

    def __init__(self, call: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.answer: int | Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._call()
        except Exception as error:
            self.answer = error

    def result(self) -> int | Exception:
        self.join(60)
        assert self.answer is not None, "the call is still under way"
        return self.answer


@contextlib.contextmanager
def dummy_server(
    folder: Path, *flags: str, ready: bool = True, hang_s: float = HANG_S
) -> Iterator[DummyServer]:
    """A server that is gone afterwards, whatever happens.

    Processes without a sign of life for `hang_s` seconds count as hanging.
    """
    server = DummyServer(folder, *flags, hang_s=hang_s)
    try:
        if ready:
            server.wait_until_ready()
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        assert server.process.stdout is not None
        server.process.stdout.close()
        wait_for(lambda: not server.leftovers())


def wait_for(what: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    """Waits until `what()` is true."""
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
