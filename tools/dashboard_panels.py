"""What the dashboards show, and where the panels stand."""

from __future__ import annotations

from tools.dashboard_queries import (
    GATEWAYS,
    SERVERS,
    Dashboard,
    Panel,
    Query,
    increase,
    quantile,
    quantiles,
    rate,
    ratio,
)

_CALLS = Panel(
    "Calls by outcome",
    [rate("asr_call_seconds_count", "{{outcome}}")],
    "reqps",
    "Calls that a front answered; those that Triton refused are not among them.",
    stacked=True,
)
_LATENCY = Panel(
    "Time of an answered call",
    quantiles("asr_call_seconds", f'outcome="ok",{SERVERS}'),
    "s",
    "In the front, without the wait in Triton's queue.",
)
_QUEUE_WAIT = Panel(
    "Wait in Triton's queue, p95 of a minute",
    [
        (
            f'max by (model) (nv_inference_queue_summary_us{{quantile="0.95",{SERVERS}}}) / 1e6',
            "{{model}}",
        )
    ],
    "s",
    "Of the server that is worst.",
)
_QUEUE = Panel(
    "Recordings in the queue",
    [
        (f'sum(nv_inference_pending_request_count{{model="transcribe",{SERVERS}}})', "wait"),
        (f"sum(asr_queue_capacity{{{SERVERS}}})", "may wait"),
    ],
)
_SPEED = Panel(
    "Seconds of audio a second",
    [
        rate("asr_audio_seconds_total", "audio"),
        rate("asr_padded_seconds_total", "audio and padding"),
    ],
    about="The real-time factor RTFx; overlaps of windows count twice.",
)
_WINDOWS = Panel(
    "Windows a forward",
    [(ratio("asr_forward_windows_sum", "asr_forward_windows_count"), "mean")],
    about="How well calls share forwards.",
)
_PADDING = Panel(
    "Share of padding",
    [(f"1 - {ratio('asr_audio_seconds_total', 'asr_padded_seconds_total')}", "padding")],
    "percentunit",
    most=1,
)
_IN_FLIGHT = Panel(
    "Windows in flight",
    [(f"sum by (server) (asr_windows_in_flight{{{SERVERS}}})", "{{server}}")],
    about="Sent to the network and not answered yet.",
)
_BUSY = Panel(
    "Processes that compute",
    [rate("asr_stage_seconds_sum", "{{server}}", f'stage="forward",{SERVERS}')],
    about="Saturated when it reaches the number of wav2vec2 processes.",
)
_DEVICES = Panel(
    "Use of processors",
    [
        (f"avg by (server) (nv_cpu_utilization{{{SERVERS}}})", "CPUs, {{server}}"),
        (f"avg by (server, gpu_uuid) (nv_gpu_utilization{{{SERVERS}}})", "GPU {{gpu_uuid}}"),
    ],
    "percentunit",
    "Of the whole machine, other programs included.",
    most=1,
)
_MEMORY = Panel(
    "Memory left",
    [
        (
            f"min by (kind) (asr_memory_available_bytes{{{SERVERS}}} "
            f"/ asr_memory_limit_bytes{{{SERVERS}}})",
            "{{kind}}",
        ),
        (
            f"1 - max(nv_gpu_memory_used_bytes{{{SERVERS}}} "
            f"/ nv_gpu_memory_total_bytes{{{SERVERS}}})",
            "GPU",
        ),
    ],
    "percentunit",
    "Of the server that is worst.",
    most=1,
)
_REFUSED = Panel(
    "Calls that Triton lost, by reason",
    [rate("nv_inference_request_failure", "{{reason}}", f'model="transcribe",{SERVERS}')],
    "reqps",
    "BACKEND: the call was lost with its front. A full queue's refusals are not counted.",
)
_FAULTS = Panel(
    "Share of calls that the service failed",
    [(f"asr:faults:rate{w} / asr:calls:rate{w}", w) for w in ("5m", "1h", "6h")],
    "percentunit",
    "Of all servers. The objective allows 0.5 %.",
)
_STAGES = Panel(
    "p95 by stage",
    [(quantile(0.95, "asr_stage_seconds", SERVERS, "stage"), "{{stage}}")],
    "s",
    "`forward` is one forward of the network; the others are of one recording.",
)
_REPLACED = Panel(
    "Replaced, hung and split, in 5 minutes",
    [
        increase("asr_heals_total", "heals of {{model}}", " by (model) "),
        increase("asr_hangs_total", "hangs of {{model}}", " by (model) "),
        increase("asr_restarts_total", "restarts of tritonserver"),
        increase("asr_oom_splits_total", "split forwards"),
    ],
)
_LIVE = (
    Panel(
        "Seconds of live audio a second",
        [
            rate("asr_stream_audio_seconds_total", "heard"),
            rate("asr_stream_computed_seconds_total", "computed"),
        ],
        about="Interims compute the same audio again.",
    ),
    Panel(
        "Time of a look, p95",
        [(quantile(0.95, "asr_stream_look_seconds", SERVERS, "kind"), "{{kind}}")],
        "s",
    ),
    Panel(
        "Segments that became final",
        [rate("asr_stream_segments_total", "{{reason}}")],
        "cps",
    ),
)
_ERRORS = Panel("Errors by code", [rate("asr_errors_total", "{{code}}")], "reqps")
_GONE = Panel("Callers that went away", [rate("asr_cancelled_total", "calls, windows")], "reqps")
_READY = Panel("Ready", [(f"asr_ready{{{SERVERS}}}", "{{server}}")], most=1)

SERVICE = Dashboard(
    "asr-service",
    "ASR: the service",
    "server",
    'label_values(up{job=~"triton|supervisor"}, server)',
    [
        ("Traffic", [_CALLS, _REFUSED, _ERRORS, _FAULTS, _SPEED, _GONE]),
        ("Latency", [_LATENCY, _STAGES, _QUEUE_WAIT]),
        ("Live", _LIVE),
        ("Saturation", [_QUEUE, _IN_FLIGHT, _BUSY, _WINDOWS, _PADDING, _DEVICES]),
        ("Health", [_MEMORY, _REPLACED, _READY]),
    ],
)

LOAD_TEST = Dashboard(
    "asr-load-test",
    "ASR: a load test",
    "server",
    'label_values(up{job="triton"}, server)',
    [
        ("Answered", [_CALLS, _SPEED, _LATENCY]),
        ("Where it waits", [_QUEUE_WAIT, _QUEUE, _IN_FLIGHT]),
        ("What limits it", [_BUSY, _WINDOWS, _PADDING, _DEVICES, _MEMORY, _REFUSED]),
    ],
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

DASHBOARDS = (SERVICE, GATEWAY, LOAD_TEST)
