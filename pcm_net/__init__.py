"""PCM-Net: a captioner that learns from synthetic images whose salient patches are mixed with concepts' texts."""
