from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading

import httpx2
import pytest

from asr_client.testing import FakeServer
from asr_gateway import connections
from asr_gateway import uploads as upload_module
from asr_gateway.metrics import Metrics
from tests.support.client.waiting import wait_until
from tests.support.gateway.running import running, uploads


def test_connections_beyond_the_bound_are_refused_and_the_others_served(server: FakeServer):
    with running(server.url, max_connections=3) as gateway, contextlib.ExitStack() as stack:
        held = [stack.enter_context(gateway.connect()) for _ in range(3)]
        wait_until(lambda: len(gateway.server.server_state.connections) == 3)
        with gateway.connect() as extra:
            answer = http.client.HTTPResponse(extra)
            answer.begin()
            assert answer.status == 503
            assert b'"too_many_connections"' in answer.read()
        assert gateway.metric("asr_gateway_connections_refused_total") == 1
        held[0].sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        answer = http.client.HTTPResponse(held[0])
        answer.begin()
        assert answer.status == 200


@pytest.mark.parametrize("head", [b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nhost: localh"])
def test_a_connection_without_a_request_is_closed(
    server: FakeServer, head: bytes, monkeypatch: pytest.MonkeyPatch
):
    class Hasty:
        def __new__(cls, metrics: Metrics, *, max_connections: int) -> type:
            return connections.bounded_protocol(
                metrics, max_connections=max_connections, head_timeout_s=0.05
            )

    monkeypatch.setattr("asr_gateway.cli.bounded_protocol", Hasty)
    with running(server.url) as gateway, gateway.connect() as slow:
        slow.sendall(head)
        assert slow.recv(100) == b""
        # Whoever has sent a request may take its time over the next one's first byte only.
        with gateway.connect() as again:
            again.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = http.client.HTTPResponse(again)
            answer.begin()
            assert answer.read() == b'{"live":true}'
            again.sendall(b"G")
            assert again.recv(100) == b""


def test_an_upload_that_stops_is_ended(server: FakeServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upload_module, "PAUSE_TIMEOUT_S", 0.05)
    with running(server.url) as gateway, gateway.connect() as slow:
        slow.sendall(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\n"
            b"content-type: multipart/form-data; boundary=x\r\ncontent-length: 999\r\n\r\n--x\r\n"
        )
        answer = http.client.HTTPResponse(slow)
        answer.begin()
        assert answer.status == 408


def test_a_stop_lets_requests_in_flight_finish():
    with FakeServer(text="ten of clubs", delay_s=0.5) as server:
        with running(server.url) as gateway:
            answers: list[httpx2.Response] = []

            def call() -> None:
                answers.append(
                    gateway.http.post(
                        "/v1/audio/transcriptions",
                        files={"file": b"OggS"},
                        data={"model": "whisper-1"},
                    )
                )

            caller = threading.Thread(target=call)
            caller.start()
            wait_until(lambda: bool(uploads(server)))
            gateway.server.should_exit = True
            caller.join()
        assert answers[0].json()["text"] == "ten of clubs"


def test_answers_do_not_wait_for_acknowledgements(server: FakeServer):
    with running(server.url) as gateway, gateway.connect():
        wait_until(lambda: len(gateway.server.server_state.connections) == 1)
        [connection] = gateway.server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\n"
        b"content-type: multipart/form-data; boundary=x\r\n"
        b"transfer-encoding: chunked\r\n\r\nZZ\r\n",
    ],
)
def test_what_is_no_http_gets_the_same_form_of_error(server: FakeServer, data: bytes):
    with running(server.url) as gateway, gateway.connect() as caller:
        caller.sendall(data)
        answer = http.client.HTTPResponse(caller)
        answer.begin()
        assert answer.status == 400
        assert json.loads(answer.read())["error"]["code"] == "bad_request"
        assert caller.recv(100) == b""


def test_a_method_that_a_path_lacks(server: FakeServer):
    with running(server.url) as gateway:
        answer = gateway.http.put("/v1/jobs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
