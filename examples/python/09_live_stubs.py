"""Live recognition with gRPC's generated stubs: words while they are spoken.

A WAV file stands in for a microphone and plays in real time; `blocks` is the only function to
replace. docs/live.md explains each step.

python 09_live_stubs.py recording.wav --url localhost:8001
"""

import argparse
import json
import os
import time
import wave
from collections.abc import Iterator
from itertools import chain
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

HOP_S = 0.4
LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL)
"""A look that fails so is not repeated: the next one has its audio, and more."""


def blocks(microphone: wave.Wave_read) -> Iterator[bytes]:
    """Raw PCM, HOP_S of it at a time."""
    while data := microphone.readframes(round(HOP_S * microphone.getframerate())):
        yield data
        time.sleep(HOP_S)


def look(stub: Any, audio: bytes, options: dict[str, Any]) -> dict[str, Any]:
    """One call of `transcribe_stream`."""
    request = service_pb2.ModelInferRequest(model_name="transcribe_stream")
    for name, value in (("AUDIO", audio), ("OPTIONS", json.dumps(options).encode())):
        request.inputs.add(name=name, datatype="BYTES", shape=[1, 1])
        request.raw_input_contents.append(len(value).to_bytes(4, "little") + value)
    answer = stub.ModelInfer(request, timeout=60 if options.get("end") else 5)
    result: dict[str, Any] = json.loads(answer.raw_output_contents[0][4:])
    return result


def main() -> None:
    """Print interims as they change, and each final."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="a WAV file with 16 bits")
    parser.add_argument("--url", default=os.environ.get("ASR_URL", "localhost:8001"))
    args = parser.parse_args()

    with wave.open(args.file) as microphone, grpc.insecure_channel(args.url) as channel:
        if microphone.getsampwidth() != 2:
            raise SystemExit(f"{args.file}: not 16 bits")
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        options: dict[str, Any] = {"encoding": "pcm_s16le", "decoder": "beam"}
        options["sample_rate"] = microphone.getframerate()
        options["channels"] = microphone.getnchannels()
        audio = b""
        for block in chain(blocks(microphone), [b""]):
            audio += block
            try:
                result = look(stub, audio, {**options, "end": not block})
            except grpc.RpcError as error:
                if block and error.code() in LOST:
                    continue
                raise SystemExit(error.details()) from None
            audio = audio[result["consumed_bytes"] :]
            options["state"] = result["state"]
            for segment in result["segments"]:
                print(f"{segment['start_s']:7.2f} s  {segment['text']}", flush=True)
            if interim := result.get("interim"):
                print(f"         …  {interim['text']}", flush=True)


if __name__ == "__main__":
    main()
