"""A process of the model `transcribe`: each call transcribes one recording."""
