"""The offline demo's data set: pictures composed of OpenMoji sprites, and captions that describe them."""
