"""Training a dual encoder of one's own with the contrastive loss."""
