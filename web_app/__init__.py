"""The web page: captions of every method beside a picture, and an HTTP endpoint for batches."""
