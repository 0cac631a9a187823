"""The one training loop: precision, processes, schedules, EMA, checkpoints, tracking."""
