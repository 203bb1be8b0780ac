"""Ray Serve with `@serve.batch`."""

from __future__ import annotations

import os
import signal
from typing import Any

from benchmarks.systems.peer import BATCH_WAIT_S, MAX_BATCH_SIZE, Peer, serve_arguments


class RayServe(Peer):
    """See System."""

    name = "Ray Serve"
    requirements = ("ray[serve]==2.60.0",)
    ready_path = "/-/healthz"


def serve() -> None:
    """The server: one replica that has all cores."""
    import ray
    from ray import serve as ray_serve

    from benchmarks.systems.tutorial import Recognizer

    port, checkpoint, padding_log = serve_arguments()
    cores = len(os.sched_getaffinity(0))

    # Ray gives a replica as many OpenMP threads as it reserves cores for it.
    @ray_serve.deployment(ray_actor_options={"num_cpus": cores}, max_ongoing_requests=100)
    class Transcriber:
        def __init__(self) -> None:
            self.recognize = Recognizer(checkpoint, padding_log)

        @ray_serve.batch(max_batch_size=MAX_BATCH_SIZE, batch_wait_timeout_s=BATCH_WAIT_S)
        async def transcribe(self, wavs: list[bytes]) -> list[str]:
            return self.recognize(wavs)

        async def __call__(self, request: Any) -> str:
            text: str = await self.transcribe(await request.body())
            return text

    ray.init(num_cpus=cores, include_dashboard=False)
    ray_serve.start(http_options={"host": "127.0.0.1", "port": port})
    deployment: Any = Transcriber
    ray_serve.run(deployment.bind(), route_prefix="/transcribe")
    try:
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    finally:
        ray_serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    serve()
