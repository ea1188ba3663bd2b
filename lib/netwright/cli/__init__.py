"""The command line: one file a group of verbs, each with `add(commands)`. Imports every floor, nothing imports it."""
