"""Everything before tritonserver starts: checkpoint, configurations, ports, certificates, GPUs."""
