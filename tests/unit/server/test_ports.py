from __future__ import annotations

import socket

from asr_backend.server.ports import Ports, triton_answers


def test_tritonserver_answers_when_all_of_its_ports_do() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as grpc,
        socket.create_server(("127.0.0.1", 0)) as metrics,
        socket.create_server(("127.0.0.1", 0)) as http,
    ):
        numbers = {"grpc": grpc.getsockname()[1], "metrics": metrics.getsockname()[1], "health": 1}
        ports = Ports(**numbers, http=http.getsockname()[1])
        assert triton_answers("127.0.0.1", ports)
        http.close()
        assert not triton_answers("127.0.0.1", ports)
        # Off, it is not waited for.
        assert triton_answers("127.0.0.1", Ports(**numbers, http=0))
        metrics.close()
        assert not triton_answers("127.0.0.1", Ports(**numbers, http=0))
