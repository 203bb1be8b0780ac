"""What the gateway's dashboard shows, and where the panels stand."""

from __future__ import annotations

from tools.dashboard_queries import (
    GATEWAYS,
    Dashboard,
    Panel,
    Query,
    quantile,
    quantiles,
    rate,
)


def _gateway_rate(title: str, *queries: Query, unit: str = "reqps", about: str = "") -> Panel:
    """Rates of the gateway's counters: the rest of the metric's name, and the legend."""
    return Panel(
        title,
        [rate(f"asr_gateway_{metric}", legend, GATEWAYS) for metric, legend in queries],
        unit,
        about,
    )


def _gateway_gauge(title: str, *queries: tuple[str, str, str], unit: str = "short") -> Panel:
    """Gauges: how gateways are put together, the rest of the metric's name, the legend."""
    return Panel(
        title,
        [(f"{how}(asr_gateway_{name}{{{GATEWAYS}}})", words) for how, name, words in queries],
        unit,
    )


GATEWAY = Dashboard(
    "asr-gateway",
    "ASR: the gateway",
    "gateway",
    'label_values(up{job="gateway"}, instance)',
    [
        (
            "Requests",
            [
                _gateway_rate(
                    "Requests by status",
                    ("requests_total", "{{status}}"),
                    about="499 is a caller that went away.",
                ),
                Panel(
                    "p95 by route",
                    [
                        (
                            quantile(0.95, "asr_gateway_request_seconds", GATEWAYS, "route"),
                            "{{route}}",
                        )
                    ],
                    "s",
                ),
                _gateway_gauge(
                    "Requests in flight",
                    ("sum", "requests_in_flight", "in flight"),
                    ("sum", "recognitions_waiting", "wait for others"),
                ),
                _gateway_rate("Uploads", ("upload_bytes_total", "bytes"), unit="Bps"),
                _gateway_rate("Refused by a limit of a key", ("limited_total", "{{limit}}")),
                _gateway_rate(
                    "Lost",
                    ("connections_refused_total", "connections refused"),
                    ("log_failures_total", "entries of the log not written"),
                    unit="cps",
                ),
            ],
        ),
        (
            "Recognitions",
            [
                _gateway_rate("Recognitions by outcome", ("recognitions_total", "{{outcome}}")),
                Panel(
                    "Time of a recognition",
                    quantiles("asr_gateway_recognition_seconds", GATEWAYS),
                    "s",
                    "Calls to asr-server, retries included.",
                ),
                _gateway_rate(
                    "Calls to asr-server by status",
                    ("server_attempts_total", "{{status}}"),
                    about="Retries count one each.",
                ),
                _gateway_rate(
                    "Seconds of audio a second", ("audio_seconds_total", "audio"), unit="short"
                ),
            ],
        ),
        (
            "Cache of results",
            [
                _gateway_rate(
                    "Recognitions by what the cache did",
                    ("cache_answers_total", "{{result}}"),
                    about="With --cache-bytes.",
                ),
                _gateway_gauge("Size of the cache", ("max", "cache_bytes", "taken"), unit="bytes"),
                _gateway_rate(
                    "Results removed, and failures of the store",
                    ("cache_evicted_total", "removed to make room"),
                    ("cache_failures_total", "failures"),
                    unit="cps",
                ),
            ],
        ),
        (
            "Jobs",
            [
                _gateway_gauge(
                    "Jobs", ("max", "jobs_queued", "wait"), ("sum", "jobs_running", "run")
                ),
                _gateway_rate(
                    "Jobs that ended or went back",
                    ("jobs_ended_total", "{{status}}"),
                    ("jobs_returned_total", "back into the queue"),
                    ("jobs_leases_lost_total", "lease lost"),
                    unit="cps",
                ),
                _gateway_rate(
                    "Webhooks",
                    ("jobs_webhook_attempts_total", "{{outcome}}"),
                    ("jobs_webhooks_dead_total", "given up"),
                    unit="cps",
                ),
                _gateway_gauge(
                    "Room for jobs",
                    ("max", "jobs_store_bytes", "taken"),
                    ("min", "jobs_store_free_bytes", "free"),
                    unit="bytes",
                ),
            ],
        ),
    ],
)
