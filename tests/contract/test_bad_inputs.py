"""What the load tests take for the right refusal is one on both servers."""

import pytest

from asr_client import AsrError, Client
from load_tests.run.bad_inputs import BAD_INPUTS


@pytest.mark.parametrize("clip", BAD_INPUTS, ids=lambda clip: clip.name)
def test_a_bad_input_is_refused_with_its_code(client: Client, clip) -> None:
    with pytest.raises(AsrError) as caught:
        client.transcribe(clip.audio, **clip.options)
    assert (caught.value.status, caught.value.code) == ("INVALID_ARGUMENT", clip.refusal)
