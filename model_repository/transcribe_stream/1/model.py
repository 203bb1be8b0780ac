"""`transcribe_stream`: live recognition. The code is in asr_backend.front.stream."""

import triton_python_backend_utils as pb_utils

from asr_backend.front.stream import TranscribeStream


class TritonPythonModel:
    def initialize(self, args):
        self._model = TranscribeStream.from_triton(args, pb_utils)

    async def execute(self, requests):
        return await self._model.execute(requests)

    def finalize(self):
        self._model.finalize()
