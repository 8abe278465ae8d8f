"""Prints a `Document` as text, Markdown, HTML or CSV. Knows blocks, cells and styles; knows no model."""
