"""The demo world that sounds: short mixtures of synthesized sources, and captions that say what is heard, in order."""
