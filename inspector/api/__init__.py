"""The public verbs and what they return."""
