"""A process of the model `wav2vec2`: batches of windows into log-probabilities."""
