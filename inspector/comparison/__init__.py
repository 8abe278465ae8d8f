"""What differs between two architectures, whether it matters, and how that is proved."""
