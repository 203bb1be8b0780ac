"""OpenAI's transcription API over HTTP, in front of the speech recognition service."""

__version__ = "0.1.0"
