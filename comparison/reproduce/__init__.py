"""Published tables run again: what each needs, its stages, and its numbers beside ours."""
