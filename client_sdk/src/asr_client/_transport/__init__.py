"""How requests reach servers: calls, attempts, retries, servers and connections."""
