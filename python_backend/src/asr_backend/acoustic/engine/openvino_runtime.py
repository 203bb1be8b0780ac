"""OpenVINO, imported so that it does not report its use."""

from __future__ import annotations

import sys

# With this package, OpenVINO reports each import to its developers.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino as openvino  # noqa: E402
from openvino import opset13 as opset13  # noqa: E402
