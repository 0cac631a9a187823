"""How two modalities lie in a shared embedding space, and what an alignment makes of it."""
