"""Which views a net has something to show in, and one page of them. Imports the views."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netwright.probing.capture import Probe
from netwright.views.architecture.architecture import Architecture
from netwright.views.explained.removal import Removal
from netwright.views.frame import assembling
from netwright.views.gates.gates import Gates
from netwright.views.halo.explorer import HaloExplorer
from netwright.views.ledger.ledger import Ledger
from netwright.views.maps.class_map import ClassMap
from netwright.views.maps.stages import StageBrowser
from netwright.views.receptive.field import ReceptiveField
from netwright.views.view import NotInThisNet, View

# By the words that the command line takes, in the order of a page: what the answer is made of, then what makes it.
OFFERS: dict[str, Callable[[Probe, int | None], View]] = {
    "class-map": lambda probe, target: ClassMap(probe, target),
    "halo": lambda probe, target: HaloExplorer(probe),
    "gates": lambda probe, target: Gates(probe),
    "ledger": lambda probe, target: Ledger(probe, target=target),
    "receptive-field": lambda probe, target: ReceptiveField(probe),
    "removal": lambda probe, target: Removal(probe, target=target),
    "stages": lambda probe, target: StageBrowser(probe),
    "architecture": lambda probe, target: Architecture(probe.net, probe.input.shape[2:]),
}


def offered(probe: Probe, names: Sequence[str] | None = None, target: int | str | None = None) -> dict[str, View]:
    """The views that this net can fill, by name; `names`: only these, and then NotInThisNet where one cannot be.

    target: the class that is explained, by default the likeliest. Raises ValueError for a name that is no view's.
    """
    unknown = [name for name in names or () if name not in OFFERS]
    if unknown:
        raise ValueError(f"There is no view called {unknown[0]!r}; there are {', '.join(OFFERS)}.")
    # A net without logits has views that need none; a class that is asked for is refused there.
    number = None if target is None and probe.logits is None else probe.target(target)
    views = {}
    for name in names or OFFERS:
        try:
            views[name] = OFFERS[name](probe, number)
        except NotInThisNet:
            if names:
                raise
    return views


def page(views: dict[str, View], title: str, lead: str, *, twin: bool = False) -> str:
    """One page of several views, which needs no kernel, no network and no other file."""
    return assembling.page(title, [(view.script, view.message(twin=twin)) for view in views.values()], lead=lead)
