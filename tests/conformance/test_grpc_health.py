"""gRPC's own health protocol, as probes of Kubernetes and balancers speak it."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

pytestmark = pytest.mark.server


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService", "transcribe", "none"])
def test_check_is_of_the_whole_server(server_url: str, service: str) -> None:
    with grpc.insecure_channel(server_url) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_watch_is_not_there(server_url: str) -> None:
    with grpc.insecure_channel(server_url) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=10))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
