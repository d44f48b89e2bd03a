"""What was read, as one HTML page that opens from disk."""
