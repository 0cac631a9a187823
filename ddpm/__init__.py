"""The diffusion model of text embeddings and the bridge it makes for image embeddings."""
