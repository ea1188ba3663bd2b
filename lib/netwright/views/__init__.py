"""Looking inside: views that hold arrays, check their own arithmetic, describe themselves and can be clicked.

Imports probing, explain, toys, models and figures; lessons, notebooks and the command line stand above it.
"""
