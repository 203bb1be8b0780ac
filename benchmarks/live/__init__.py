"""Live recognition: what streams that play in real time wait, cost and understand."""
