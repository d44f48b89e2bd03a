"""Pictures and words become a `Prompt`, with numpy and Pillow only."""
