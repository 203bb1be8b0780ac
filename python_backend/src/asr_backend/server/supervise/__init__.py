"""A running tritonserver: its processes, their health and their replacement."""
