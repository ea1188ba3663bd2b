"""The textbook: one readable file an architecture, in the order in which they are taught.

config, layers, resnet, resnext, resnest, halonet, then the skeleton (net) and the table of names (zoo). Off the road:
hybrids, three published crossings of HaloNet with other nets.
Imports nothing of the project outside this folder.
"""
