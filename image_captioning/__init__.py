"""The ClipCap-style captioner: a prefix mapper before GPT-2, trained on text alone."""
