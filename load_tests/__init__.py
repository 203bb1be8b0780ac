"""Load on a running server, made with Locust through the public SDK."""
