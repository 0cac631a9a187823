"""Painters: pictures for captions that have none, written as an ordinary data set."""
