"""Captions measured against references, pictures and training text."""
