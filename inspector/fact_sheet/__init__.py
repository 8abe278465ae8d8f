"""What a model is, found out from what it did: each fact with what shows it and what claims it."""
