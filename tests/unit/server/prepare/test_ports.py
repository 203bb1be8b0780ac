from __future__ import annotations

import socket

import pytest

from asr_backend.server.errors import StartError
from asr_backend.server.prepare.ports import Ports, lost, reserve, triton_answers
from asr_backend.server.settings import Settings

ANY = {"grpc_port": 0, "metrics_port": 0, "health_port": 0}


def test_tritonserver_answers_when_all_of_its_ports_do() -> None:
    settings = Settings(admin_host="::1")
    with (
        socket.create_server(("127.0.0.1", 0)) as grpc,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as metrics,
        socket.create_server(("127.0.0.1", 0)) as http,
    ):
        numbers = {"grpc": grpc.getsockname()[1], "metrics": metrics.getsockname()[1], "health": 1}
        ports = Ports(**numbers, http=http.getsockname()[1])
        assert triton_answers(settings, ports)
        http.close()
        assert not triton_answers(settings, ports)
        # Off, it is not waited for.
        assert triton_answers(settings, Ports(**numbers, http=0))
        metrics.close()
        assert not triton_answers(settings, Ports(**numbers, http=0))


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_no_program_gets_a_reserved_port_by_chance_and_it_can_still_be_bound(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with reserve(Settings(host=address, admin_host=address, **ANY)) as ports:
        assert ports.http == 0
        numbers = [ports.grpc, ports.metrics, ports.health]
        assert len(set(numbers)) == 3
        for port in numbers:
            # Without SO_REUSEADDR, as for a connection that goes out.
            with socket.socket(family) as other, pytest.raises(OSError, match="in use"):
                other.bind((address, port))
            # As Triton and our health server do; after an end, once more.
            for _ in range(2):
                with socket.create_server((address, port), family=family) as listener:
                    reach = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
                    socket.create_connection((reach, port), timeout=5).close()
                    listener.accept()[0].close()
    for port in numbers:
        with socket.socket(family) as other:
            other.bind((address, port))


def test_metrics_and_health_have_an_address_of_their_own() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        reserve(Settings(admin_host="127.0.0.2", **ANY)) as ports,
    ):
        port = taken.getsockname()[1]
        for use, address in (("grpc", "127.0.0.1"), ("metrics", "127.0.0.2")):
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind((address, getattr(ports, use)))
        with (
            pytest.raises(StartError, match=f"--grpc-port {port} on 127.0.0.1: .*in use"),
            reserve(Settings(**{**ANY, "grpc_port": port})),
        ):
            pass
        with reserve(Settings(admin_host="127.0.0.2", **{**ANY, "metrics_port": port})) as free:
            assert free.metrics == port


@pytest.mark.parametrize(
    ("line", "use"),
    [
        (
            b"""main.cc:245] "failed to start GRPC service: Unavailable - Socket '[::1]:8001' """,
            "grpc",
        ),
        (
            b"""main.cc:257] "failed to start HTTP service: Unavailable - Socket '1.2.3.4:80' """,
            "http",
        ),
        (b"""failed to start Metrics service: Unavailable - Socket 'ipv6:::1:8002' """, "metrics"),
    ],
)
def test_a_lost_port_is_known_by_triton_s_words(line: bytes, use: str) -> None:
    assert lost(b"E1130 05:57:42.416652 10805 " + line + b'already in use "\n') == use


@pytest.mark.parametrize(
    "line",
    [
        b'I1130 05:57:44 10845 grpc_server.cc:2558] "Started GRPCInferenceService at [::1]:3"\n',
        b"No address added out of total 1 resolved for '127.0.0.1:38495' Address already in use\n",
        b'E1130 main.cc:245] "failed to start GRPC service: Internal - certificate"\n',
    ],
)
def test_other_lines_lose_no_port(line: bytes) -> None:
    assert lost(line) is None
