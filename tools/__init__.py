"""Programs for maintainers: the demo checkpoint's corpus, training and evaluation."""
