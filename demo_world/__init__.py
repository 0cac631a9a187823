"""The offline demo's data sets: pictures composed of OpenMoji sprites, and captions that describe them.

In `motion` they move; `sounds` are another world.
"""
