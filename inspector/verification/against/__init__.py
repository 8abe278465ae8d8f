"""Two implementations, stage by stage: each stage of the one is run again on what the other read.

run        the two questions: another implementation, and the same one under other settings
sides groups flow layout   what runs on either side, and what corresponds
transfer   the weights of the one in the other
judge bounds kernel numbers   how far apart two honest results may be
cache      steps with a cache against the whole forward
"""
