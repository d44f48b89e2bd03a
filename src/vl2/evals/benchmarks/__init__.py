"""The field's benchmarks: files that people have, the questions in them, runs and reports."""
