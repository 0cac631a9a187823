"""The modality gap measured: where both modalities are, how they spread, and what separates them."""
