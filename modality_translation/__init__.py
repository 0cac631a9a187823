"""The conditional encoder-decoder: translating between any two embedding spaces, learned from pairs."""
