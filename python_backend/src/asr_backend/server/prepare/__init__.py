"""What a server needs before tritonserver starts."""
