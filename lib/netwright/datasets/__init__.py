"""Data sets: pictures with classes, from folders, by name or made, and the batches that a net takes."""

from netwright.datasets.archives import DataUnavailable
from netwright.datasets.folder import DataError, FolderPictures, duplicates
from netwright.datasets.inputs import Batch, EveryPicture, Inputs, Ticket, loader
from netwright.datasets.opening import Data, data_names, open_data
from netwright.datasets.pictures import PictureSet, ToyPictures

__all__ = [
    "Batch",
    "Data",
    "DataError",
    "DataUnavailable",
    "EveryPicture",
    "FolderPictures",
    "Inputs",
    "PictureSet",
    "Ticket",
    "ToyPictures",
    "data_names",
    "duplicates",
    "loader",
    "open_data",
]
