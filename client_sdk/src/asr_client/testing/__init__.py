"""A server for your own tests: it speaks the service's gRPC contract and needs no Triton.

```python
import numpy as np

from asr_client import Client
from asr_client.testing import Fault, FakeServer

with FakeServer(text="seven of clubs") as server, Client(server.url) as client:
    server.fail(Fault.QUEUE_FULL, times=2)
    second_of_silence = np.zeros(16_000, np.int16)
    transcript = client.transcribe(second_of_silence, sample_rate=16_000)
    assert transcript.text == "seven of clubs"
    assert len(server.requests) == 3
```
"""

from asr_client.testing._faults import Fault
from asr_client.testing._network import FlakyNetwork
from asr_client.testing._server import FakeServer, ReceivedRequest

__all__ = ["FakeServer", "Fault", "FlakyNetwork", "ReceivedRequest"]
