"""`/v1/jobs`: long work that a store keeps, and the webhooks that tell of its end."""
