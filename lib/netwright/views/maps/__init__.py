"""Feature maps: stage by stage, in four nets side by side, and summed up to a logit."""
