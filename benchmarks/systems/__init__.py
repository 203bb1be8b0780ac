"""What is measured: each system is one file that can be started, called and stopped."""
