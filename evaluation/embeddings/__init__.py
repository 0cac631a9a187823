"""Embeddings measured: retrieval and zero-shot classification."""
