"""Which kind of process of a server a command line belongs to."""

from __future__ import annotations

import pytest

from tools.local_server import role


@pytest.mark.parametrize(
    ("command_line", "expected"),
    [
        (["/x/triton_python_backend_stub", "/x/models/transcribe/1/model.py"], "transcribe"),
        (
            ["/x/triton_python_backend_stub", "/x/models/transcribe_stream/1/model.py"],
            "transcribe_stream",
        ),
        (["/x/triton_python_backend_stub", "/x/models/wav2vec2/1/model.py"], "wav2vec2"),
        (["/x/bin/tritonserver", "--model-repository=/x/models"], "tritonserver"),
        (["/x/bin/python", "/x/bin/asr-server"], "asr-server"),
        ([], "asr-server"),
    ],
)
def test_the_role_of_a_process(command_line: list[str], expected: str):
    assert role(command_line) == expected
