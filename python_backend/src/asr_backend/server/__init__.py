"""The asr-server command: starts tritonserver with our models and stays as its supervisor."""
