"""Pictures from sentences, by generators that were trained on pictures alone."""
