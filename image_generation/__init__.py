"""Pictures from sentences, by a generator that was trained on pictures alone."""
