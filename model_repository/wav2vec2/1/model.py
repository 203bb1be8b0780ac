"""`wav2vec2`: windows of audio to log-probabilities. The work is in asr_backend.acoustic.model."""

import triton_python_backend_utils as pb_utils

from asr_backend.acoustic.model import Wav2Vec2Model


class TritonPythonModel:
    def initialize(self, args):
        self._model = Wav2Vec2Model.from_triton(args, pb_utils)

    def execute(self, requests):
        self._model.execute(requests)

    def finalize(self):
        self._model.finalize()
