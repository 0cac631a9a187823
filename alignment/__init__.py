"""The heart: methods that close the modality gap, as chains of small steps over embeddings."""
