"""Looking inside: views that hold arrays, check their own arithmetic, describe themselves and can be clicked.

    with nw.probe(net, "photo.jpg") as p:
        views.ClassMap(p, "tabby").check()

view is what they share, assembling makes pages of them, and live connects them with the kernel. Imports explain,
probing, toys, models and figures; lessons, notebooks and the command line stand above.
"""

from netwright.views.architecture import Architecture
from netwright.views.class_map import ClassMap
from netwright.views.gate_paths import GatePaths
from netwright.views.gates import Gates
from netwright.views.groups import GroupStructure
from netwright.views.halo import HaloExplorer
from netwright.views.halo_tables import RelativeTables
from netwright.views.league import League
from netwright.views.ledger import Ledger
from netwright.views.neighbours import Neighbours
from netwright.views.optimised import OptimisedFeatures
from netwright.views.receptive import ReceptiveField
from netwright.views.removal import Removal
from netwright.views.scrubber import Scrubber
from netwright.views.side_by_side import SideBySide
from netwright.views.splits import SplitBrowser
from netwright.views.stages import StageBrowser
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
