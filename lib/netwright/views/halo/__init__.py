"""HaloNet: where each head looked, and how its tables are read."""
