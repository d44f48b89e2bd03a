"""Pages become pictures in a process of their own, which may take only so much."""
