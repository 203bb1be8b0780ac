"""The endpoints that OpenAI's clients call."""
