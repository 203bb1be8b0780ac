"""All that can be learned on a machine with a GPU within eight minutes: see docs/engine.md."""
