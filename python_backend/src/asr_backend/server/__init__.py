"""The process asr-server: starts tritonserver with the models and supervises it."""
