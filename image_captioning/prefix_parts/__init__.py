"""What a captioner reads beside the mapper's prefix: words in a prompt, and captions that are near its embedding."""
