"""What a server answers, as the SDK's errors."""

from __future__ import annotations

import pickle
import re

import pytest

import asr_client
from asr_client import _errors
from asr_client._transport import statuses
from asr_client._transport.statuses import classify
from asr_client.testing import Fault
from tests.support.client.calls import Clock, fail, made_call

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
    call = made_call(Clock(), restart_backoff_s=0.1 / 0.75)
    attempt = call.attempt()
    try:
        assert fail(attempt, fault.status, fault.message) == pytest.approx(0.1)
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
    fail(call.attempt(), *Fault.QUEUE_FULL.value)
    clock.time_s += 1.5
    attempt = call.attempt()
    with pytest.raises(asr_client.InvalidAudio) as caught:
        fail(attempt, *Fault.AUDIO_TOO_LONG.value)
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


def test_codes_of_the_contract_have_one_table() -> None:
    assert set(_errors.MESSAGES) <= set(statuses._KIND_OF_CODE)
