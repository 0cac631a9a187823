"""The offline demo's data set: generated pictures, composed of OpenMoji sprites, and the captions that describe them."""
