"""Many methods, many seeds: comparisons of captioning methods and of translations, and the demo."""
