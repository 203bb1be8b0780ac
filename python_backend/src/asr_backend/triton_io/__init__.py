"""What the processes share at Triton's edge."""
