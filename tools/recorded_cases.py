"""What `record_series` records: a fault, who calls meanwhile, and the alerts that fire."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tools.recorded_faults import (
    Run,
    fill_memory,
    fill_shared_memory,
    hang,
    kill_again_and_again,
    kill_fronts,
    lose_looks,
    lose_webhooks_and_the_server,
    one_too_large_in_twenty,
    stall,
    stop_all,
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault.

    Attributes:
        about: the fault, in words.
        fires: the alerts that fire in it at some moment; no others do.
        fault: makes it, from a thread.
        flags: more flags for the server.
        callers: calls in flight from start to end.
        clip_s: length of their recordings, seconds; 0 for those of tests/data.
        clips: makes of these what the callers send; None sends them.
        lookers: callers of transcribe_stream, each with one look after the other.
        look_pause_s: between two looks of a caller, seconds.
        samples: scrapes; the fault begins after the first ten.
        certificate_days: days for which the server's certificate is valid; 0 for no TLS.
        isolated: what it has of its own: "shm", "disk" or "memory"; "" for nothing.
        gateway: whether a gateway runs, with two callers of its own.
        small_disk: whether the gateway must leave three quarters of its disk's free room.
    """

    about: str
    fires: tuple[str, ...]
    fault: Callable[[Run], None] = lambda run: None
    flags: tuple[str, ...] = ("--frontends=2",)
    callers: int = 0
    clip_s: int = 0
    clips: Callable[[Sequence[bytes]], list[bytes]] | None = None
    lookers: int = 0
    look_pause_s: float = 2.0
    samples: int = 60
    certificate_days: int = 0
    isolated: str = ""
    gateway: bool = False
    small_disk: bool = False


CASES: Mapping[str, Case] = {
    "healthy": Case(
        about="Four callers, and a certificate that is valid for 90 days.",
        fires=(),
        callers=4,
        certificate_days=90,
    ),
    "live": Case(
        about="Two callers, and two more with live audio.", fires=(), callers=2, lookers=2
    ),
    "down": Case(
        about="The server and the gateway end.",
        fires=("AsrGatewayDown", "AsrTargetDown"),
        fault=stop_all,
        samples=24,
        gateway=True,
    ),
    "gateway-healthy": Case(about="Two callers at a gateway.", fires=(), gateway=True),
    "gateway-faults": Case(
        about="Little room on the disk, a webhook that answers 410, and then no server.",
        fires=(
            "AsrGatewayJobsStuck",
            "AsrGatewayServerFails",
            "AsrGatewayStoreNearlyFull",
            "AsrGatewayWebhooksDead",
            "AsrTargetDown",
        ),
        fault=lose_webhooks_and_the_server,
        samples=90,
        gateway=True,
        small_disk=True,
    ),
    "certificate": Case(
        about="The certificate is valid for five more days.",
        fires=("AsrCertificateExpires",),
        samples=12,
        certificate_days=5,
    ),
    "full-queue": Case(
        about="24 callers; each front takes five recordings, and four may wait.",
        fires=("AsrQueueNearlyFull",),
        flags=("--frontends=2", "--max-audio-s=8", "--max-queue-size=4"),
        callers=24,
        clip_s=8,
    ),
    "full-live-queue": Case(
        about="32 callers with live audio; a front takes a dozen looks, and four may wait.",
        fires=("AsrQueueNearlyFull",),
        flags=("--stream-frontends=1", "--max-queue-size=4", "--max-audio-bytes=200000"),
        lookers=32,
        look_pause_s=0,
    ),
    "lost-looks": Case(
        about="All fronts of live audio are killed twice, with the looks that they work on.",
        fires=("AsrLiveFails",),
        fault=lose_looks,
        lookers=12,
    ),
    "bad-input": Case(
        about="Four callers send what is no audio.",
        fires=("AsrBadInput",),
        callers=4,
        clips=lambda clips: [b"no audio" * 10],
    ),
    "slow-burn": Case(
        about="There is no room on the disk for one recording in twenty.",
        fires=("AsrErrorBudgetBurnsSlowly",),
        flags=("--frontends=2", "--run-dir=/mnt"),
        callers=4,
        clips=one_too_large_in_twenty,
        isolated="disk",
    ),
    "memory": Case(
        about="Another program takes nearly all of the memory.",
        fires=("AsrMemoryNearlyFull",),
        fault=fill_memory,
        callers=2,
        isolated="memory",
    ),
    "stalls": Case(
        about="wav2vec2 stands still for 6 s at a time.",
        fires=("AsrLiveLate", "AsrSlow"),
        fault=stall,
        callers=8,
        lookers=4,
    ),
    "heal-loop": Case(
        about="wav2vec2 is killed whenever it serves.",
        fires=("AsrHealLoop", "AsrNoProgress", "AsrNotReady", "AsrSlow"),
        fault=kill_again_and_again,
        callers=8,
        samples=90,
    ),
    "lost-calls": Case(
        about="All fronts are killed twice, with the calls that they work on.",
        fires=("AsrErrorBudgetBurnsFast", "AsrErrorBudgetBurnsSlowly"),
        fault=kill_fronts,
        callers=8,
        clip_s=60,
    ),
    "hang": Case(
        about="wav2vec2 stands still until it is killed and replaced; that takes minutes here.",
        fires=("AsrHang", "AsrNoProgress", "AsrNotReady"),
        fault=hang,
        callers=2,
    ),
    "shared-memory": Case(
        about="Another program fills /dev/shm.",
        fires=("AsrMemoryNearlyFull",),
        fault=fill_shared_memory,
        callers=4,
        isolated="shm",
    ),
}
