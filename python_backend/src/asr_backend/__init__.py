"""The server side: Triton models, the acoustic engine and the asr-server supervisor."""

__version__ = "0.1.0"
