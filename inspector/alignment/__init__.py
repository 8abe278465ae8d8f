"""Two architectures stage by stage: which stage of the one is which of the other, why, and how sure that is."""
