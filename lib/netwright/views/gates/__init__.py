"""ResNeSt: what its gates prefer, what its splits make of a picture, and how far its gates see."""
