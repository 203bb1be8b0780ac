"""LitServe with its batching, clips as base64 in JSON, as its documentation sends images."""

from __future__ import annotations

import base64
import json

from benchmarks.systems.peer import BATCH_WAIT_S, MAX_BATCH_SIZE, Peer, serve_arguments


class LitServe(Peer):
    """See System."""

    name = "LitServe"
    requirements = ("litserve==0.2.19",)
    path = "/predict"
    content_type = "application/json"

    def encode(self, wav: bytes) -> bytes:
        """See Peer."""
        return json.dumps({"audio": base64.b64encode(wav).decode()}).encode()

    def decode(self, body: bytes) -> str:
        """See Peer."""
        return str(json.loads(body)["text"])


# Its workers import this file by the second name.
if __name__ in ("__main__", "__mp_main__"):
    import litserve as ls

    from benchmarks.systems.tutorial import Recognizer

    PORT, CHECKPOINT, PADDING_LOG = serve_arguments()

    class Transcriber(ls.LitAPI):
        """The server."""

        def setup(self, device: str) -> None:
            """Load the model, once in the worker."""
            self.recognize = Recognizer(CHECKPOINT, PADDING_LOG)

        # LitServe would take annotations here for those of a web framework.
        def decode_request(self, request):  # type: ignore[no-untyped-def]
            """The audio file."""
            return base64.b64decode(request["audio"])

        def predict(self, wavs: list[bytes]) -> list[str]:
            """A batch's transcripts."""
            return self.recognize(wavs)

        def encode_response(self, text):  # type: ignore[no-untyped-def]
            """The JSON of the answer."""
            return {"text": text}


if __name__ == "__main__":
    api = Transcriber(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_WAIT_S)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=300)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False)
