"""Embedding files of other codebases, read safely and imported into stores."""
