"""What an embedding is: tables, encoders, the store, and the alignments that close the modality gap."""
