"""The textbook: one readable file an architecture, in the order in which they are taught.

config, layers, resnet, resnext, resnest, halonet, then the skeleton (net) and the table of names (zoo).
Imports nothing of the project outside this folder.
"""
