"""PyTriton with `@batch`: clips as bytes, which have one shape whatever their length."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.systems.peer import (
    BATCH_WAIT_S,
    MAX_BATCH_SIZE,
    serve_arguments,
)
from benchmarks.systems.triton_calls import MODEL, TritonPeer
from tools.local_server import free_ports


class PyTriton(TritonPeer):
    """See System."""

    name = "PyTriton"
    requirements = ("nvidia-pytriton==0.7.0",)


def serve() -> None:
    """The server: the model runs in this process, Triton in another."""
    from pytriton.decorators import batch
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    from benchmarks.systems.tutorial import Recognizer

    port, checkpoint, padding_log = serve_arguments()
    recognize = Recognizer(checkpoint, padding_log)

    @batch
    def transcribe(audio: npt.NDArray[np.bytes_]) -> dict[str, npt.NDArray[np.bytes_]]:
        texts = recognize([wav for (wav,) in audio])
        return {"text": np.array([[text.encode()] for text in texts], dtype=object)}

    http_port, metrics_port = free_ports(2)
    config = TritonConfig(
        grpc_address="127.0.0.1",
        http_address="127.0.0.1",
        metrics_address="127.0.0.1",
        grpc_port=port,
        http_port=http_port,
        metrics_port=metrics_port,
    )
    batcher = DynamicBatcher(max_queue_delay_microseconds=round(1e6 * BATCH_WAIT_S))
    with Triton(config=config) as triton:
        triton.bind(
            model_name=MODEL,
            infer_func=transcribe,
            inputs=[Tensor(name="audio", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            config=ModelConfig(max_batch_size=MAX_BATCH_SIZE, batcher=batcher),
        )
        triton.serve()


if __name__ == "__main__":
    serve()
