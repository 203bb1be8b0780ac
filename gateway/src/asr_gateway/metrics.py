"""The gateway's Prometheus metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from asr_client import Attempt

_REQUEST_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class CacheMetrics:
    """The metrics of the cache of results."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answers = Counter(
            "asr_gateway_cache_answers",
            "Recognitions with --cache-bytes by result: hit, joined, miss or bypass",
            ("result",),
            registry=registry,
        )
        self.bytes = Gauge(
            "asr_gateway_cache_bytes",
            "Bytes of the cached results, as counted at the last write",
            registry=registry,
        )
        self.evicted = Counter(
            "asr_gateway_cache_evicted",
            "Cached results removed to make room",
            registry=registry,
        )
        self.failures = Counter(
            "asr_gateway_cache_failures",
            "Reads and writes of the cache that failed; the request is computed",
            registry=registry,
        )


class JobMetrics:
    """The metrics of jobs, their webhooks and their store."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queued = Gauge(
            "asr_gateway_jobs_queued", "Jobs of the store that wait", registry=registry
        )
        self.running = Gauge(
            "asr_gateway_jobs_running", "Jobs of this gateway at asr-server", registry=registry
        )
        self.ended = Counter(
            "asr_gateway_jobs_ended",
            "Jobs that this gateway ended, by status",
            ("status",),
            registry=registry,
        )
        self.returned = Counter(
            "asr_gateway_jobs_returned",
            "Jobs put back into the queue: asr-server away or at fault, or the gateway stops",
            registry=registry,
        )
        self.leases_lost = Counter(
            "asr_gateway_jobs_leases_lost",
            "Running jobs that were cancelled, deleted or taken over elsewhere",
            registry=registry,
        )
        self.webhook_attempts = Counter(
            "asr_gateway_jobs_webhook_attempts",
            "Calls of webhooks by outcome: delivered, failed, refused",
            ("outcome",),
            registry=registry,
        )
        self.webhooks_dead = Counter(
            "asr_gateway_jobs_webhooks_dead",
            "Webhooks that were given up",
            registry=registry,
        )
        self.store_bytes = Gauge(
            "asr_gateway_jobs_store_bytes",
            "Size of the database and of the recordings of jobs",
            registry=registry,
        )
        self.store_free_bytes = Gauge(
            "asr_gateway_jobs_store_free_bytes",
            "Room left on the disks of --blobs and of a SQLite file, the smaller",
            registry=registry,
        )
        self.min_free_bytes = Gauge(
            "asr_gateway_jobs_min_free_bytes",
            "--min-free-bytes: with less room jobs are refused",
            registry=registry,
        )
        self.store_failures = Counter(
            "asr_gateway_jobs_store_failures",
            "Failed attempts to read or write jobs in the background",
            registry=registry,
        )


class Metrics:
    """All metrics of one gateway, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "asr_gateway_requests",
            "HTTP requests by route and status; 499 is a caller that went away",
            ("route", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "asr_gateway_request_seconds",
            "Seconds from the request's head to the end of its answer",
            ("route",),
            buckets=_REQUEST_BUCKETS_S,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "asr_gateway_requests_in_flight",
            "HTTP requests that have no complete answer yet",
            registry=self.registry,
        )
        self.connections_refused = Counter(
            "asr_gateway_connections_refused",
            "Connections beyond --max-connections",
            registry=self.registry,
        )
        self.recognitions = Counter(
            "asr_gateway_recognitions",
            "Recognitions by outcome: succeeded, cancelled, or a code of asr-server",
            ("outcome",),
            registry=self.registry,
        )
        self.recognition_seconds = Histogram(
            "asr_gateway_recognition_seconds",
            "Seconds of the calls to asr-server, retries included",
            buckets=_REQUEST_BUCKETS_S,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "asr_gateway_recognitions_waiting",
            "Uploaded recordings that wait for others at asr-server",
            registry=self.registry,
        )
        self.audio_seconds = Counter(
            "asr_gateway_audio_seconds", "Seconds of audio transcribed", registry=self.registry
        )
        self.upload_bytes = Counter(
            "asr_gateway_upload_bytes", "Bytes of request bodies", registry=self.registry
        )
        self.limited = Counter(
            "asr_gateway_limited",
            "Requests refused by a limit of their key: requests, audio or at_once",
            ("limit",),
            registry=self.registry,
        )
        self.attempts = Counter(
            "asr_gateway_server_attempts",
            "Calls to asr-server by gRPC status; retries count one each",
            ("status",),
            registry=self.registry,
        )
        self.log_failures = Counter(
            "asr_gateway_log_failures",
            "Entries that could not be written to the recognition log",
            registry=self.registry,
        )
        self.jobs = JobMetrics(self.registry)
        self.cache = CacheMetrics(self.registry)

    def on_attempt(self, attempt: Attempt) -> None:
        """For the SDK: count a call."""
        self.attempts.labels(attempt.status).inc()

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
