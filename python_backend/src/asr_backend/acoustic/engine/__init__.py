"""What runs the network: on torch, or on OpenVINO."""
