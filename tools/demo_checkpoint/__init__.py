"""The demo checkpoint's corpus, training and evaluation."""
