"""What the dashboards show, and where the panels stand."""

from __future__ import annotations

from tools.dashboard_queries import (
    SERVERS,
    Dashboard,
    Panel,
    increase,
    quantile,
    quantiles,
    rate,
    ratio,
)
from tools.gateway_panels import GATEWAY

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
    "Calls in Triton's queues",
    [
        (f'sum(nv_inference_pending_request_count{{model="transcribe",{SERVERS}}})', "recordings"),
        (
            f'sum(nv_inference_pending_request_count{{model="transcribe_stream",{SERVERS}}})',
            "looks",
        ),
        (f"sum(asr_queue_capacity{{{SERVERS}}})", "may wait, of each"),
    ],
    about="A full queue refuses calls. Looks are those at live audio.",
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
            rate("asr_stream_audio_seconds_total", "live"),
            rate("asr_stream_computed_seconds_total", "computed"),
        ],
        about="Interims compute the same audio again.",
    ),
    Panel(
        "Looks by what they found",
        [rate("asr_stream_look_seconds_count", "{{kind}}")],
        "reqps",
        "A look is one call of transcribe_stream.",
        stacked=True,
    ),
    Panel(
        "Looks that failed",
        [
            rate("asr_stream_failures_total", "{{outcome}}"),
            rate(
                "nv_inference_request_failure",
                "{{reason}}, in Triton",
                f'model="transcribe_stream",{SERVERS}',
            ),
        ],
        "reqps",
        "A stream goes on with the next look.",
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
    Panel(
        "Computed for a live second",
        [(ratio("asr_stream_computed_seconds_total", "asr_stream_audio_seconds_total"), "seconds")],
        about="1 with finals alone; about 3 with interims.",
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

DASHBOARDS = (SERVICE, GATEWAY, LOAD_TEST)
