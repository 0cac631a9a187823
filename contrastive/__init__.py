"""Training a dual encoder with the contrastive loss."""
