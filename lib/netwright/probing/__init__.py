"""What happens inside a net: where to look (points), numbers to compare with (golden), where a net departs (difference).

Imports nets, weights, transforms and figures; views, lessons and the command line stand above it.
"""
