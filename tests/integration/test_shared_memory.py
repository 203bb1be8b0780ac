"""An answer that finds no room in shared memory is an error, and its caller does not wait for ever.

A limit on the size of files that a process writes plays a full /dev/shm for that process alone.
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from tests.support.server.plain_triton import plain_triton

pytestmark = pytest.mark.server

MODEL = """
import asyncio
import os
import pathlib

import numpy as np
import triton_python_backend_utils as pb_utils

from asr_backend.errors import AsrError
from asr_backend.triton_io.errors import triton_error
from asr_backend.triton_io.shared_memory import SharedMemory
from asr_backend.triton_io.values import model_parameters


class Watched(SharedMemory):
    async def _put(self, outputs):
        there_was_room = await super()._put(outputs)
        if not there_was_room:
            (FOLDER / "full").touch()
        return there_was_room


class TritonPythonModel:
    def initialize(self, args):
        global FOLDER
        FOLDER = pathlib.Path(model_parameters(args)["folder"])
        (FOLDER / "pid").write_text(str(os.getpid()))
        self._tasks = set()

    async def execute(self, requests):
        for request in requests:
            task = asyncio.create_task(self._answer(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, request):
        size = pb_utils.get_input_tensor_by_name(request, "SIZE").as_numpy().item()
        sender = request.get_response_sender()
        del request
        outputs = [
            pb_utils.Tensor(name, np.array([b"x" * length], dtype=object))
            for name, length in (("TEXT", 10), ("RESULT", size))
        ]
        try:
            await Watched(pb_utils, free=lambda: 0).hold(outputs, size)
            response = pb_utils.InferenceResponse(output_tensors=outputs)
        except AsrError as error:
            response = pb_utils.InferenceResponse(error=triton_error(pb_utils, error))
        sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
CONFIG = """
name: "answers"
backend: "python"
input [ { name: "SIZE" data_type: TYPE_INT32 dims: [ 1 ] } ]
output [
  { name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "RESULT" data_type: TYPE_STRING dims: [ 1 ] }
]
parameters { key: "folder" value: { string_value: "%s" } }
"""
LARGE = 8_000_000
"""More than the region of a process has at first."""


class Server:
    """A tritonserver whose one model answers with as many bytes as it is asked for."""

    def __init__(self, url: str, folder: Path) -> None:
        self._client = grpcclient.InferenceServerClient(url)
        self._folder = folder
        until(self._is_ready, "ready")

    def _is_ready(self) -> bool:
        with contextlib.suppress(InferenceServerException):
            return self._client.is_model_ready("answers")
        return False

    def ask(self, size: int) -> int:
        """The length of the answer."""
        tensor = grpcclient.InferInput("SIZE", [1], "INT32")
        tensor.set_data_from_numpy(np.array([size], np.int32))
        answer: Any = self._client.infer("answers", [tensor], client_timeout=60)
        return len(answer.as_numpy("RESULT")[0])

    @property
    def found_no_room(self) -> bool:
        return (self._folder / "full").exists()

    @contextlib.contextmanager
    def without_room(self) -> Iterator[None]:
        """The model's process finds no room for a large answer."""
        process = psutil.Process(int((self._folder / "pid").read_text()))
        process.rlimit(resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            process.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    version = tmp_path / "models" / "answers" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    (version.parent / "config.pbtxt").write_text(CONFIG % tmp_path)
    with plain_triton(tmp_path, tmp_path / "models") as url:
        yield Server(url, tmp_path)


def test_an_answer_waits_for_room_and_is_an_error_where_there_is_none(server: Server) -> None:
    assert server.ask(10) == 10
    with server.without_room(), pytest.raises(InferenceServerException) as caught:
        server.ask(LARGE)
    assert server.found_no_room
    assert "UNAVAILABLE" in str(caught.value.status())
    assert caught.value.message() == (
        f"OUT_OF_MEMORY: the server's shared memory has no room for an answer of {LARGE} bytes"
    )
    (server._folder / "full").unlink()
    with ThreadPoolExecutor(1) as pool:
        with server.without_room():
            answer: Future[int] = pool.submit(server.ask, LARGE)
            until(lambda: server.found_no_room, "there is room")
            assert server.ask(10) == 10
        assert answer.result(60) == LARGE
    assert server.ask(LARGE) == LARGE
