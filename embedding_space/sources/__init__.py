"""Pictures (or sounds, or videos) one after the other, wherever they are: folders, lists, tar files, Parquet."""
