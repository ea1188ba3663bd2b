"""What a unit can see, and what of it it uses."""
