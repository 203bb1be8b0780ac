"""tritonserver while it runs: its processes, their health and their replacement."""
