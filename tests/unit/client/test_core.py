from __future__ import annotations

import json
import math
import pickle
import re
from typing import Any

import numpy as np
import pytest

import asr_client
from asr_client import _core, _errors
from asr_client._audio import Payload
from asr_client._budget import RetryBudget
from asr_client._core import Call, classify, never_sent
from asr_client._documents import options_json, transcript
from asr_client._servers import Health, Servers
from asr_client._wire import ContractError
from asr_client.testing import Fault

EXPECTED: dict[Fault, tuple[type[asr_client.AsrError], bool]] = {
    Fault.EMPTY_AUDIO: (asr_client.InvalidAudio, False),
    Fault.UNSUPPORTED_FORMAT: (asr_client.InvalidAudio, False),
    Fault.CORRUPT_AUDIO: (asr_client.InvalidAudio, False),
    Fault.AUDIO_TOO_LONG: (asr_client.InvalidAudio, False),
    Fault.AUDIO_TOO_LARGE: (asr_client.InvalidAudio, False),
    Fault.BAD_SAMPLE_RATE: (asr_client.InvalidAudio, False),
    Fault.NON_FINITE_SAMPLES: (asr_client.InvalidAudio, False),
    Fault.BAD_SHAPE: (asr_client.InvalidRequest, False),
    Fault.BAD_OPTIONS: (asr_client.InvalidOptions, False),
    Fault.UNKNOWN_LANGUAGE: (asr_client.InvalidOptions, False),
    Fault.BAD_TENSOR: (asr_client.InvalidRequest, False),
    Fault.QUEUE_FULL: (asr_client.ServerBusy, True),
    Fault.QUEUE_TIMEOUT: (asr_client.ServerBusy, True),
    Fault.CONNECTION_LOST: (asr_client.ServerUnavailable, True),
    Fault.STOPPING: (asr_client.ServerDraining, True),
    Fault.DRAINING: (asr_client.ServerDraining, True),
    Fault.UNKNOWN_MODEL: (asr_client.ModelNotFound, False),
    Fault.RESTRICTED: (asr_client.AuthenticationError, False),
    Fault.OUT_OF_MEMORY: (asr_client.OutOfMemory, True),
    Fault.ENGINE_RESTARTING: (asr_client.EngineRestarting, True),
    Fault.DEAD_FRONT: (asr_client.EngineRestarting, True),
    Fault.INTERNAL_ERROR: (asr_client.ServerFault, False),
    Fault.MESSAGE_TOO_LARGE: (asr_client.MessageTooLarge, False),
    Fault.CANCELLED: (asr_client.Cancelled, False),
    Fault.NO_OUTPUTS: (asr_client.InvalidResponse, False),
}
FAILURES = [fault for fault in Fault if fault is not Fault.NO_OUTPUTS]

RESULT: dict[str, Any] = {
    "contract": 1,
    "text": "go on",
    "duration_s": 2.5,
    "confidence": 0.75,
    "words": [
        {"text": "go", "start_s": 0.5, "end_s": 1.0, "confidence": 0.5},
        {"text": "on", "start_s": 1, "end_s": 2, "confidence": 1},
    ],
    "model": {"id": "demo", "revision": "1"},
    "timing_ms": {"decode": 1.0, "acoustic": 2.0, "ctc": 3.0, "total": 7},
}


class Clock:
    def __init__(self) -> None:
        self.time_s = 100.0

    def __call__(self) -> float:
        return self.time_s


def made_call(clock: Clock, *, timeout_s: float = 10.0, dice: float = 0.5, **policy: Any) -> Call:
    return Call(
        address="host:1",
        timeout_s=timeout_s,
        policy=asr_client.RetryPolicy(**policy),
        clock=clock,
        dice=lambda: dice,
    )


def test_every_fault_has_an_expectation() -> None:
    assert set(EXPECTED) == set(Fault)


@pytest.mark.parametrize("prefix", ["", "[request id: ab-1] "])
@pytest.mark.parametrize("fault", FAILURES)
def test_a_failure_becomes_its_error_by_the_contract(fault: Fault, prefix: str) -> None:
    kind, code = classify(fault.status, prefix + fault.message)
    assert kind is EXPECTED[fault][0]
    ours = re.match(r"[A-Z_]+(?=: )", fault.message)
    assert code == (ours.group() if ours else None)


@pytest.mark.parametrize("fault", FAILURES)
def test_only_what_may_succeed_is_tried_again(fault: Fault) -> None:
    call = made_call(Clock())
    call.attempt()
    try:
        assert call.failed(fault.status, fault.message) == 0.1
        again = True
    except asr_client.AsrError:
        again = False
    assert again == EXPECTED[fault][1]


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        ("UNKNOWN", "", _errors.ServerFault),
        ("UNIMPLEMENTED", "no such method", _errors.ServerFault),
        ("UNAUTHENTICATED", "", _errors.AuthenticationError),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", _errors.DeadlineExceeded),
        ("RESOURCE_EXHAUSTED", "slow down", _errors.ServerFault),
        ("INVALID_ARGUMENT", "A_NEW_CODE: later", _errors.InvalidRequest),
        # A caller's own text in a message is no code.
        ("INTERNAL", "failed at EMPTY_AUDIO: none", _errors.ServerFault),
    ],
)
def test_statuses_of_others_have_an_error_too(
    status: str, words: str, kind: type[asr_client.AsrError]
) -> None:
    assert classify(status, words)[0] is kind


def test_messages_are_constant_and_details_are_attributes() -> None:
    clock = Clock()
    call = made_call(clock, max_attempts=2)
    call.attempt()
    call.failed(*Fault.QUEUE_FULL.value)
    clock.time_s += 1.5
    call.attempt()
    with pytest.raises(asr_client.InvalidAudio) as caught:
        call.failed(*Fault.AUDIO_TOO_LONG.value)
    error = caught.value
    assert str(error) == "the audio is longer than the server allows"
    assert (error.code, error.status) == ("AUDIO_TOO_LONG", "INVALID_ARGUMENT")
    assert error.server_message == "AUDIO_TOO_LONG: 7300.2 s, the limit is 7200 s"
    assert (error.attempts, error.elapsed_s, error.address) == (2, 1.5, "host:1")
    assert error.request_id == call.request_id
    assert isinstance(error.__cause__, asr_client.ServerBusy)
    assert error.server_message in "".join(getattr(error, "__notes__", [error.server_message]))


def test_errors_survive_pickling() -> None:
    error = _errors.ServerBusy(status="UNAVAILABLE", server_message="full", attempts=3)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)


def test_every_error_of_the_tree_is_public_and_has_words() -> None:
    def tree(kind: type[asr_client.AsrError]) -> set[type[asr_client.AsrError]]:
        return {kind}.union(*(tree(child) for child in kind.__subclasses__()))

    assert {kind.__name__ for kind in tree(asr_client.AsrError)} <= set(asr_client.__all__)
    assert len({kind.default_message for kind in tree(asr_client.AsrError)}) == len(
        tree(asr_client.AsrError)
    )


def test_each_attempt_gets_the_time_that_is_left() -> None:
    clock = Clock()
    call = made_call(clock, timeout_s=10)
    assert call.attempt() == 10
    clock.time_s += 4
    call.failed(*Fault.QUEUE_FULL.value)
    assert call.attempt() == 6


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    call = made_call(Clock(), timeout_s=1, initial_backoff_s=4)
    call.attempt()
    with pytest.raises(asr_client.ServerBusy):
        call.failed(*Fault.QUEUE_FULL.value)


def test_a_failure_at_the_deadline_is_the_deadline() -> None:
    clock = Clock()
    call = made_call(clock, timeout_s=1)
    call.attempt()
    clock.time_s += 1
    with pytest.raises(asr_client.DeadlineExceeded) as caught:
        call.failed(*Fault.QUEUE_TIMEOUT.value)
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value.__cause__, asr_client.ServerBusy)


@pytest.mark.parametrize("timeout_s", [0, -1, math.inf, math.nan])
def test_a_call_without_an_end_is_refused(timeout_s: float) -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        made_call(Clock(), timeout_s=timeout_s)


def with_servers(*addresses: str, **settings: Any) -> Call:
    servers = Servers(addresses, dice=lambda: 0)
    for address in addresses:
        servers.answered(address)
    budget = settings.pop("budget", RetryBudget())
    call = Call(
        address=",".join(addresses),
        timeout_s=settings.pop("timeout_s", 10.0),
        policy=asr_client.RetryPolicy(**settings),
        servers=servers,
        budget=budget,
        clock=Clock(),
        dice=lambda: 0.5,
    )
    call.choose()
    call.attempt()
    return call


REFUSED = ("UNAVAILABLE", "failed to connect to all addresses; last error: Connection refused")


@pytest.mark.parametrize(
    ("words", "unsent"),
    [
        (REFUSED[1], True),
        ("errors resolving asr:1: [Domain name not found]", True),
        ("Socket closed", False),
        ("recvmsg:Connection reset by peer", False),
        ("Exceeds maximum queue size", False),
    ],
)
def test_what_was_never_sent(words: str, unsent: bool) -> None:
    assert never_sent("UNAVAILABLE", words) == unsent
    assert not never_sent("INTERNAL", words)


@pytest.mark.parametrize("fault", FAILURES)
def test_trouble_of_one_server_is_left_at_once_and_other_trouble_waits(fault: Fault) -> None:
    call = with_servers("a", "b")
    at_once = {Fault.CONNECTION_LOST, Fault.STOPPING, Fault.DRAINING, Fault.OUT_OF_MEMORY}
    try:
        pause_s = call.failed(fault.status, fault.message)
    except asr_client.AsrError:
        assert not EXPECTED[fault][1]
        return
    assert (pause_s == 0) == (fault in at_once)
    assert call.choose().address == "b"


def test_going_on_to_another_server_before_anything_was_sent_is_free() -> None:
    budget = RetryBudget()
    call = with_servers("a", "b", "c", max_attempts=1, budget=budget)
    for _ in range(2):
        assert call.failed(*REFUSED) == 0
        call.choose()
        call.attempt()
    with pytest.raises(asr_client.ServerUnavailable) as caught:
        call.failed(*REFUSED)
    assert (caught.value.attempts, caught.value.address) == (3, "c")
    assert budget.tokens == RetryBudget().tokens


def test_sending_again_takes_from_the_budget_and_ends_with_it() -> None:
    budget = RetryBudget()
    for left in range(int(budget.tokens), 0, -1):
        with_servers("a", "b", budget=budget).failed(*Fault.CONNECTION_LOST.value)
        assert budget.tokens == left - 1
    with pytest.raises(asr_client.ServerUnavailable) as caught:
        with_servers("a", "b", budget=budget).failed(*Fault.CONNECTION_LOST.value)
    assert caught.value.attempts == 1
    with_servers("a", budget=budget, budgeted=False).failed(*Fault.QUEUE_FULL.value)
    with_servers("a", budget=budget).failed(*REFUSED)


def test_an_answer_refills_the_budget_and_proves_the_server() -> None:
    budget = RetryBudget()
    budget.take()
    call = with_servers("a", "b", budget=budget)
    call.servers.failed("a", asr_client.ServerUnavailable)
    call.succeeded()
    assert budget.tokens == pytest.approx(RetryBudget().tokens - 0.9)
    assert call.servers.health("a") is Health.UP


def test_a_deadline_that_passed_at_a_server_makes_it_doubtful() -> None:
    call = with_servers("a", "b")
    with pytest.raises(asr_client.DeadlineExceeded):
        call.failed("DEADLINE_EXCEEDED", "Deadline Exceeded")
    assert call.servers.health("a") is Health.UNPROVEN


def test_a_poisonous_file_reaches_three_servers_at_most() -> None:
    call = with_servers("a", "b", "c", "d", max_attempts=9)
    reached = {call.address}
    for _ in range(2):
        call.failed(*Fault.DEAD_FRONT.value)
        reached.add(call.choose().address)
        call.attempt()
    with pytest.raises(asr_client.EngineRestarting):
        call.failed(*Fault.DEAD_FRONT.value)
    assert len(reached) == 3


def test_options_say_what_was_given_and_no_more() -> None:
    payload = Payload(data=b"", encoding="pcm_s16le", sample_rate=8000, channels=2)
    options = {"timestamps": "none", "hotwords": ("ace",), "language": None}
    assert json.loads(options_json(payload, options)) == {
        "encoding": "pcm_s16le",
        "sample_rate": 8000,
        "channels": 2,
        "timestamps": "none",
        "hotwords": ["ace"],
    }


def test_numpy_numbers_are_numbers() -> None:
    payload = Payload(data=b"", encoding="container")
    options = {"channel": np.int64(1), "hotword_weight": np.float32(0.5), "hotwords": {"a": 1}}
    document = json.loads(options_json(payload, {**options, "hotwords": {"a": 1}.keys()}))
    assert document["channel"] == 1
    assert document["hotword_weight"] == 0.5
    assert document["hotwords"] == ["a"]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"hotwords": "ace"}, TypeError),
        ({"channel": object()}, TypeError),
        ({"hotword_weight": math.nan}, ValueError),
    ],
)
def test_options_that_json_cannot_say_are_refused(
    options: dict[str, object], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        options_json(Payload(data=b"", encoding="container"), options)


def test_a_result_is_read_to_the_last_field() -> None:
    chars = [{"text": "g", "start_s": 0.5, "end_s": 0.6, "confidence": 0.5, "channel": 1}]
    channels = [{"channel": 1, "text": "go on", "confidence": 0.5}]
    document = {**RESULT, "chars": chars, "channels": channels, "new_in_later_servers": 1}
    read = transcript(json.dumps(document).encode(), request_id="r")
    assert read == asr_client.Transcript(
        text="go on",
        duration_s=2.5,
        confidence=0.75,
        words=(
            asr_client.Word(text="go", start_s=0.5, end_s=1.0, confidence=0.5),
            asr_client.Word(text="on", start_s=1.0, end_s=2.0, confidence=1.0),
        ),
        chars=(asr_client.Char(text="g", start_s=0.5, end_s=0.6, confidence=0.5, channel=1),),
        channels=(asr_client.ChannelTranscript(channel=1, text="go on", confidence=0.5),),
        model=asr_client.ModelInfo(id="demo", revision="1"),
        timing_ms=asr_client.Timing(decode=1.0, acoustic=2.0, ctc=3.0, total=7.0),
        request_id="r",
    )
    with pytest.raises(AttributeError):
        read.text = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"{}",
        json.dumps({**RESULT, "contract": 2}).encode(),
        json.dumps({**RESULT, "words": [{}]}).encode(),
        json.dumps({**RESULT, "words": 1}).encode(),
        json.dumps({**RESULT, "model": None}).encode(),
        json.dumps({**RESULT, "duration_s": "long"}).encode(),
        json.dumps({**RESULT, "duration_s": 10**400}).encode(),
        b"[" * 100_000,
    ],
)
def test_a_result_that_breaks_the_contract_is_refused(document: bytes) -> None:
    with pytest.raises(ContractError):
        transcript(document, request_id="")


def test_codes_of_the_contract_have_one_table() -> None:
    assert set(_errors.MESSAGES) <= set(_core._KIND_OF_CODE)
