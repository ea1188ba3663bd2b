"""Published weights: what exists (catalogue), getting it (fetch), reading and renaming it (read, keymaps, load).

Imports paths of the project and nothing above; nets never import weights.
"""
