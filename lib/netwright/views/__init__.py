"""Looking inside: views that hold arrays, check their own arithmetic, describe themselves and can be clicked.

    with nw.probe(net, "photo.jpg") as p:
        views.ClassMap(p, "tabby").check()

view.py is what they share; frame/ makes pages of them and connects them with the kernel; every other folder is a kind of
view, its arithmetic, its picture and its ES module. Imports explain, probing, toys, models and figures; lessons, notebooks
and the command line stand above.
"""

from netwright.views.architecture.architecture import Architecture
from netwright.views.explained.league import League
from netwright.views.explained.removal import Removal
from netwright.views.gates.gates import Gates
from netwright.views.gates.paths import GatePaths
from netwright.views.gates.splits import SplitBrowser
from netwright.views.halo.explorer import HaloExplorer
from netwright.views.halo.tables import RelativeTables
from netwright.views.ledger.groups import GroupStructure
from netwright.views.ledger.ledger import Ledger
from netwright.views.maps.class_map import ClassMap
from netwright.views.maps.side_by_side import SideBySide
from netwright.views.maps.stages import StageBrowser
from netwright.views.pictures.neighbours import Neighbours
from netwright.views.pictures.optimised import OptimisedFeatures
from netwright.views.receptive.field import ReceptiveField
from netwright.views.training.scrubber import Scrubber
from netwright.views.view import CheckFailed, Identity, NotInThisNet, View

__all__ = [
    "Architecture",
    "CheckFailed",
    "ClassMap",
    "GatePaths",
    "Gates",
    "GroupStructure",
    "HaloExplorer",
    "Identity",
    "League",
    "Ledger",
    "Neighbours",
    "NotInThisNet",
    "OptimisedFeatures",
    "ReceptiveField",
    "RelativeTables",
    "Removal",
    "Scrubber",
    "SideBySide",
    "SplitBrowser",
    "StageBrowser",
    "View",
]
