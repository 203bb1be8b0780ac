"""A user's script that touches every public name; mypy --strict reads it, nothing runs it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

import asr_client
from asr_client import AsyncClient, Client, RetryPolicy, Transcript
from asr_client.testing import FakeServer, Fault, ReceivedRequest


def sync(url: str, pcm: npt.NDArray[np.int16], floats: npt.NDArray[np.float32]) -> str:
    policy = RetryPolicy(
        max_attempts=3,
        initial_backoff_s=0.1,
        max_backoff_s=1.0,
        backoff_multiplier=2.0,
        budgeted=True,
    )
    tls = asr_client.TlsConfig(
        root_certificates=Path("ca.pem"),
        client_certificate="caller.pem",
        client_key=b"",
        server_name_override="asr.test",
    )
    with Client(url, timeout_s=10.0, retry=policy, token="t", tls=tls) as client:
        client.wait_until_ready(60)
        ready: bool = client.is_ready(timeout_s=1.0)
        status: asr_client.ServerStatus = client.status()
        servers: list[str] = [url, status.address]
        Client(servers).close()
        Client(("dns:///asr.internal:8001",)).close()
        models: list[asr_client.ModelStatus] = [m for m in status.models if m.ready == ready]
        audios: list[asr_client.Audio] = ["a.wav", Path("a.wav"), b"", io.BytesIO(), pcm]
        for audio in audios:
            client.transcribe(audio)
        client.transcribe(floats, sample_rate=16_000, channel=1, timestamps="char")
        client.transcribe(np.zeros((5, 2)), sample_rate=16_000, channel="mix", language="deu")
        with open("a.wav", "rb") as file:
            client.transcribe(file, retry=RetryPolicy(max_attempts=1), timeout_s=2)
        client.transcribe(
            b"",
            encoding="pcm_s16le",
            sample_rate=8_000,
            channels=1,
            decoder="beam",
            beam_width=10,
            hotwords=["ace"],
            hotword_weight=1.5,
        )
        try:
            return describe(client.transcribe("a.wav")) + client.url + str(models)
        except asr_client.InvalidAudio as error:
            code: str | None = error.code
            return f"{code} {error.status} {error.server_message} {error.request_id}"
        except (asr_client.InvalidOptions, asr_client.InvalidRequest, asr_client.MessageTooLarge):
            raise
        except (asr_client.ServerBusy, asr_client.ServerDraining, asr_client.EngineRestarting):
            return "later"
        except (asr_client.OutOfMemory, asr_client.ServerUnavailable) as error:
            return f"{error.attempts} {error.elapsed_s:.1f} {error.address}"
        except (asr_client.AuthenticationError, asr_client.ModelNotFound, asr_client.ServerFault):
            raise
        except (asr_client.DeadlineExceeded, asr_client.Cancelled, asr_client.InvalidResponse):
            raise
        except asr_client.AsrError:
            raise


def describe(transcript: Transcript) -> str:
    spans: list[asr_client.Word | asr_client.Char] = [*transcript.words, *transcript.chars]
    times: list[float] = [span.end_s - span.start_s for span in spans if span.confidence > 0.5]
    by_channel: dict[int, asr_client.ChannelTranscript] = {
        c.channel: c for c in transcript.channels
    }
    model: asr_client.ModelInfo = transcript.model
    timing: asr_client.Timing = transcript.timing_ms
    return (
        f"{transcript.text} {times} {by_channel} {model.id} {timing.total} {transcript.duration_s}"
    )


async def asynchronous(url: str) -> Transcript:
    async with AsyncClient(url, timeout_s=10.0) as client:
        await client.wait_until_ready(60)
        if not await client.is_ready():
            print(await client.status(timeout_s=1.0))
        return await client.transcribe("a.wav", timestamps="none")


def own_tests() -> tuple[ReceivedRequest, ...]:
    with FakeServer(text="hello", delay_s=0.1, token="t") as server:
        server.answer(np.zeros(5, np.int16), "silence", sample_rate=16_000)
        server.fail(Fault.QUEUE_FULL, times=2)
        server.ready = False
        return server.requests
