"""The demo world that moves: short videos composed of OpenMoji sprites, and captions that say what happens."""
