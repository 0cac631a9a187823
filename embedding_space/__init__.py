"""Embeddings on disk: tables, encoders and the store."""
