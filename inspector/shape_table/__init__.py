"""The shapes of a model as a table: one row per stage, equal blocks folded."""
