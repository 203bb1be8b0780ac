"""The sweep: the same load on server after server, each with another setting."""
