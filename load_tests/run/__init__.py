"""One run: what is sent and when, the callers, and who coordinates them."""
