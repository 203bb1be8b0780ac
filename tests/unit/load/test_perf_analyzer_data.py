import base64
import json

from tritonclient.utils import deserialize_bytes_tensor

from load_tests.perf_analyzer_data import ROUNDS, main
from load_tests.run.closed_loop import endless
from load_tests.run.corpus import build_corpus


def test_every_clip_is_there_as_it_goes_over_the_wire_and_in_the_order_of_measure(tmp_path):
    file = tmp_path / "data.json"
    assert main([str(file), "--seed", "3"]) == 0
    requests = json.loads(file.read_text())["data"]
    corpus = build_corpus(seed=3)
    assert len(requests) == ROUNDS * len(corpus)
    for request, clip in zip(requests, endless(corpus, 3), strict=False):
        assert request.keys() == {"AUDIO", "OPTIONS"}
        # transcribe's dimensions without the batch's, which perf_analyzer adds.
        assert all(tensor["shape"] == [1] for tensor in request.values())
        assert elements(request["AUDIO"]) == [clip.audio]
        assert elements(request["OPTIONS"]) == [b"{}"]


def elements(tensor):
    """Triton's own reading of a BYTES tensor."""
    return list(deserialize_bytes_tensor(base64.b64decode(tensor["content"]["b64"])))
