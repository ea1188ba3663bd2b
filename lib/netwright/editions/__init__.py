"""From the executed notebooks to what a course hands out: student, solution and instructor editions, slides, nbgrader.

`build` makes them all. Imports notebooks, workbook and the teaching files of lessons.
"""

from netwright.editions.building import EDITIONS, build, zipped

__all__ = ["EDITIONS", "build", "zipped"]
