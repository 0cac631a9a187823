"""Pictures that were generated from sentences, measured against real ones and against their sentences."""
