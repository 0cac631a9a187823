"""Measuring captions and embeddings: caption metrics, retrieval, tables, plots and the HTML report."""
