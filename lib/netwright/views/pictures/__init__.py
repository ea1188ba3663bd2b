"""Views of other pictures: the nearest ones, and those that were made to excite a channel."""
