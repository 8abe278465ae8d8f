"""Turns results into documents, records and JSON envelopes. Decides what is said, never how it is printed."""
