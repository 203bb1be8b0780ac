"""A process of the model `transcribe`: one recording a call."""
