"""Captioning many files: streamed, in parts that survive an interruption, by any number of processes."""
