"""The engines that run the network, on torch or on OpenVINO."""
