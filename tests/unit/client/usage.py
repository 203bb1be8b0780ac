"""A user's script that touches every public name; mypy --strict reads it, nothing runs it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

import asr_client
from asr_client import AsyncClient, Client, Outcome, Recording, RetryPolicy, Transcript
from asr_client.testing import FakeServer, Fault, FlakyNetwork, ReceivedRequest


def sync(url: str, pcm: npt.NDArray[np.int16], floats: npt.NDArray[np.float32]) -> str:
    policy = RetryPolicy(
        max_attempts=3,
        initial_backoff_s=0.1,
        max_backoff_s=1.0,
        backoff_multiplier=2.0,
        reconnect_s=10.0,
        restart_backoff_s=2.0,
        budgeted=True,
    )
    tls = asr_client.TlsConfig(
        root_certificates=Path("ca.pem"),
        client_certificate="caller.pem",
        client_key=b"",
        server_name_override="asr.test",
    )
    attempts: list[asr_client.Attempt] = []
    with Client(
        url,
        timeout_s=10.0,
        retry=policy,
        token="t",
        tls=tls,
        compression="gzip",
        max_audio_bytes=2**30,
        on_attempt=attempts.append,
    ) as client:
        client.wait_until_ready(60)
        ready: bool = client.is_ready(timeout_s=1.0)
        status: asr_client.ServerStatus = client.status()
        servers: list[str] = [url, status.address, introduce(client.info(timeout_s=1.0))]
        print(*map(tell_server, client.servers))
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
    warnings: tuple[asr_client.AudioWarning, ...] = transcript.warnings
    codes: list[str] = [f"{one.code}: {one.message}" for one in warnings]
    cues: tuple[asr_client.Cue, ...] = asr_client.cues(transcript.words, transcript.chars)
    shown_s: list[float] = [cue.end_s - cue.start_s for cue in cues if cue.channel is None]
    subtitles: str = asr_client.as_srt(transcript.words) + asr_client.as_vtt(transcript.words)
    milliseconds: float = timing.decode + timing.acoustic + timing.ctc + timing.total
    return (
        f"{transcript.text} {times} {by_channel} {model.id} {model.revision} {milliseconds} "
        f"{model.precision} {model.fingerprint} {codes} "
        f"{transcript.duration_s} {transcript.request_id} {shown_s} {subtitles}"
    )


def pass_on(
    client: Client,
    recorded: asr_client.Samples,
    file: asr_client.ReadableFile,
    *,
    encoding: asr_client.Encoding,
    timestamps: asr_client.Timestamps,
    channel: asr_client.Channel,
    decoder: asr_client.Decoder,
) -> asr_client.Item:
    transcript = client.transcribe(
        recorded, encoding=encoding, timestamps=timestamps, channel=channel, decoder=decoder
    )
    return file.read() if transcript.text else recorded


def connect(
    url: str,
    authority: asr_client.Pem,
    compression: asr_client.Compression,
    on_attempt: asr_client.OnAttempt,
) -> Client:
    tls = asr_client.TlsConfig(root_certificates=authority)
    return Client(url, tls=tls, compression=compression, on_attempt=on_attempt)


def tell(attempt: asr_client.Attempt) -> tuple[str, float]:
    error: asr_client.AsrError | None = attempt.error
    final: bool = attempt.pause_s is None or attempt.left_out != ""
    where = f"{attempt.address} {attempt.number} {attempt.status} {attempt.request_id}"
    return f"{where} {final} {error}", attempt.elapsed_s


def tell_server(server: asr_client.ServerHealth) -> str:
    state: asr_client.ServerState = server.state
    return f"{server.address} {state} {server.reason}" if server.left_out else state


def show(status: asr_client.ServerStatus) -> str:
    models: dict[str, tuple[str, ...]] = {model.name: model.versions for model in status.models}
    return f"{status.name} {status.version} {status.live and status.ready} {models}"


def introduce(info: asr_client.ServerInfo) -> str:
    names: tuple[str, ...] = info.languages + info.decoders
    texts: list[str | None] = [info.model_id, info.model_revision, info.precision]
    texts += [info.language_model, info.fingerprint]
    return f"{info.address} {names} {texts}"


async def asynchronous(url: str) -> Transcript:
    async with AsyncClient(url, timeout_s=10.0) as client:
        await client.wait_until_ready(60)
        if not await client.is_ready():
            print(await client.status(timeout_s=1.0), introduce(await client.info()))
        return await client.transcribe("a.wav", timestamps="none")


def many(url: str) -> list[str | None]:
    class Named(Recording):
        """Outcomes keep the type of the items."""

    items = [Named("a.wav", id="a", channel="separate"), Named(b"", encoding="pcm_s16le")]
    texts: list[str | None] = []
    with Client(url) as client:
        outcomes = client.transcribe_many(items, concurrency=4, timestamps="none", timeout_s=9)
        for outcome in outcomes:
            named: Named = outcome.item
            error: Exception | None = outcome.error
            transcript: Transcript | None = outcome.transcript
            texts.append(named.id if error or transcript is None else outcome.result().text)
        outcomes.close()
    return texts


async def many_asynchronous(url: str, files: AsyncIterator[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    async with AsyncClient(url) as client:
        async for outcome in client.transcribe_many(files):
            done: Outcome[str] = outcome
            texts[done.item] = done.result().text
    return texts


def own_tests() -> tuple[ReceivedRequest, ...]:
    with FakeServer(text="hello", delay_s=0.1, token="t", keep=100) as server:
        server.capacity = 1
        server.stall(0.5)
        server.hung = False
        server.disturb({Fault.QUEUE_FULL: 0.1}, slow=0.2, slow_s=0.5, seed=7)
        quiet = asr_client.AudioWarning(code="VERY_QUIET", message="the audio is silent")
        server.answer(np.zeros(5, np.int16), "silence", sample_rate=16_000, warnings=[quiet])
        server.fail(Fault.QUEUE_FULL, times=2)
        server.ready = False
        server.parameters["language_model"] = "four.arpa"
        with FlakyNetwork(server.url) as network:
            Client(network.url).close()
            network.reset()
            network.silence()
            print(network.connections, network.bytes_to_server)
            network.stop()
        network.start()
        server.stop()
        server.start()
        return server.requests


def received(request: ReceivedRequest) -> tuple[str | None, float | None, int | None]:
    assert request.audio != request.options
    assert request.request_id == f"{Fault.QUEUE_FULL.status} {Fault.QUEUE_FULL.message}"
    assert request.ended_early.wait(1.0)
    return request.metadata.get("traceparent"), request.deadline_s, request.timeout_us


def live(client: Client, lost: asr_client.StreamLost, samples: asr_client.Samples) -> str:
    source: asr_client.Paced = asr_client.paced("a.wav", chunk_s=0.1, speed=2.0)
    with client.stream(
        sample_rate=source.sample_rate,
        channels=source.channels,
        encoding=source.encoding,
        timestamps="char",
        channel=0,
        decoder="beam",
        beam_width=50,
        hotwords=["clubs"],
        hotword_weight=5.0,
        language=None,
        interim=True,
        endpoint_silence_s=0.7,
        max_segment_s=20.0,
        max_behind_s=30.0,
        give_up_s=10.0,
    ) as stream:
        told = [shown(event) for event in stream.run(source)]
    chunks: list[asr_client.Chunk] = [b"", samples]
    pushed: asr_client.LiveStream
    with client.stream(resume=lost) as pushed:
        try:
            for chunk in chunks:
                pushed.feed(chunk)
        except asr_client.StreamBehind:
            pushed.flush()
        told += map(shown, pushed.events(timeout_s=0.1))
        transcript: asr_client.LiveTranscript = pushed.finish()
        end = (
            len(pushed.pending),
            transcript.words,
            transcript.chars,
            transcript.segments,
            transcript.skipped,
        )
    return f"{told} {transcript.text} {pushed.transcript == transcript} {end}"


def shown(event: asr_client.StreamEvent) -> str:
    match event:
        case asr_client.Interim(text=text, stable_text=stable, words=words):
            first: asr_client.InterimWord = words[0]
            where = (event.index, event.start_s, event.end_s, first.stable, first.confidence)
            times = (first.text, first.start_s, first.end_s)
            return f"{text} {stable} {event.stable_text} {where} {times}"
        case asr_client.Segment():
            frames = (event.first_frame, event.frames, event.model, event.confidence)
            return f"{event.text} {event.words} {event.chars} {event.reason} {frames}"
        case asr_client.Skipped(error=error):
            return f"{event.first_frame} {event.frames} {event.start_s} {event.end_s} {error}"


async def live_async(client: AsyncClient, chunks: AsyncIterator[bytes]) -> str:
    stream: asr_client.AsyncLiveStream
    async with client.stream(sample_rate=16_000) as stream:
        async for event in stream.run(chunks):
            print(shown(event))
        stream.feed(b"")
        stream.flush()
        async for event in stream.events(timeout_s=0):
            print(shown(event))
        return (await stream.finish()).text
