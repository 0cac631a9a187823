"""Readers of published data sets and of the user's files; what they yield becomes a data set's two tables."""

from embedding_space.datasets.make import make_tables as make_tables
