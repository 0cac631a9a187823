"""Encoders of pictures and sentences: CLIP by open_clip, and pairs of towers from other libraries."""
