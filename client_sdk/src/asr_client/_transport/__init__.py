"""The way of a request to a server: calls, attempts, retries, servers and connections."""
