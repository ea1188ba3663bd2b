"""torch.hub loads every publisher's name from a checkout of this project, offline and without an installed netwright."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from netwright.nets.net import FeatureNet
from netwright.nets.zoo import CONFIGS
from netwright.weights import catalogue
from netwright.weights.fetch import WeightsUnavailable
from parity import picture, relative_error, timm_net
from published import empty_machine, place

ROOT = str(Path(__file__).parents[1])
FACEBOOK = [
    f"{net}_{kind}"
    for kind in ("ssl", "swsl")
    for net in (
        "resnet18",
        "resnet50",
        "resnext50_32x4d",
        "resnext101_32x4d",
        "resnext101_32x8d",
        "resnext101_32x16d",
    )
]
RESNEST = {
    "resnest50": "resnest50d",
    "resnest101": "resnest101e",
    "resnest200": "resnest200e",
    "resnest269": "resnest269e",
    "resnest50_fast_1s4x24d": "resnest50d_1s4x24d",
    "resnest50_fast_4s2x40d": "resnest50d_4s2x40d",
}
TORCHVISION = ["resnet18", "resnet50", "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"]


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A machine without a network on which two published files lie; gives the nets that are in them."""
    with empty_machine(tmp_path_factory.mktemp("hub")) as patch:
        patch.setenv("NETWRIGHT_OFFLINE", "1")
        nets = {name: timm_net(catalogue.find(name).architecture).eval() for name in ("resnet18_ssl", "resnest14")}
        for name, net in nets.items():
            place(patch, name, net)
        yield nets


def load(name: str, *args, **options):
    return torch.hub.load(ROOT, name, *args, source="local", **options)


@pytest.fixture
def downloaded(tmp_path, monkeypatch) -> str:
    """torch.hub.list and help look only at what torch.hub has itself downloaded: this project, as if it had."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    Path(tmp_path, "someone_netwright_main").symlink_to(ROOT, target_is_directory=True)
    return "someone/netwright:main"


def test_the_names_of_every_publishers_hub_are_listed_and_nothing_else(downloaded):
    listed = torch.hub.list(downloaded, trust_repo=True, skip_validation=True)
    assert {*FACEBOOK, *RESNEST, *TORCHVISION, *CONFIGS} <= set(listed)
    known = {name for weights in catalogue.catalogue() for name in (weights.architecture, *weights.aliases)}
    assert set(listed) <= known


def test_help_says_whose_weights_they_are_how_large_and_under_which_licence(downloaded):
    text = torch.hub.help(downloaded, "resnet18_swsl", trust_repo=True, skip_validation=True)
    for fact in ("Facebook AI Research", "semi_weakly_supervised_resnet18-118f1556.pth", "46.8 MB", "CC-BY-NC-4.0"):
        assert fact in text


def test_facebooks_names_are_pretrained_as_at_facebook(machine):
    x = picture("resnet18", torch.float32)
    net = load("resnet18_ssl").eval()
    assert net.weights.name == "resnet18.fb_ssl_yfcc100m_ft_in1k"
    with torch.inference_mode():
        assert relative_error(net(x), machine["resnet18_ssl"](x)) <= 1e-4
    assert load("resnet18_ssl", pretrained=False).weights is None
    assert load("ssl_resnet18").weights is None  # timm's name of the same


@pytest.mark.parametrize("name", [name for name in FACEBOOK if name != "resnet18_ssl"])
def test_each_of_facebooks_names_asks_for_its_own_file(machine, name):
    with pytest.raises(WeightsUnavailable, match="semi_(weakly_)?supervised") as refused:
        load(name)
    assert catalogue.find(name).files[0].filename in str(refused.value)


def test_the_authors_names_of_resnest_are_pretrained_when_asked(machine):
    x = picture("resnest14d", torch.float32)
    for net in (load("resnest14", pretrained=True), load("resnest14", True, progress=False)):
        with torch.inference_mode():
            assert relative_error(net.eval()(x), machine["resnest14"](x)) <= 1e-4
    assert load("resnest14").weights is None


@pytest.mark.parametrize(("name", "architecture"), [*RESNEST.items(), *((name, name) for name in CONFIGS)])
def test_a_name_gives_its_untrained_architecture(name, architecture):
    with torch.device("meta"):  # shapes only: the largest of these nets have 194 million numbers
        net = load(name)
    assert net.config == CONFIGS[architecture] and net.weights is None


def test_options_reach_create_model(machine, tmp_path):
    net = load("resnet18_ssl", num_classes=37, in_chans=1)
    assert net(torch.zeros(2, 1, 64, 64)).shape == (2, 37)
    assert isinstance(load("resnest14d", features_only=True, out_indices=(1, 3)), FeatureNet)
    assert load("resnet18", weights="fb_ssl_yfcc100m_ft_in1k").weights.name == "resnet18.fb_ssl_yfcc100m_ft_in1k"
    with pytest.raises(TypeError, match="classes"):
        load("resnet18", classes=3)


def test_a_checkout_alone_is_enough_and_comes_before_an_installed_netwright(tmp_path):
    """Another interpreter, with another netwright on its path, in another folder; only hubconf.py and lib/ are there."""
    checkout, installed = tmp_path / "checkout", tmp_path / "installed" / "netwright"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("raise ImportError('the installed one')")
    checkout.mkdir()
    shutil.copy(Path(ROOT, "hubconf.py"), checkout)
    shutil.copytree(Path(ROOT, "lib"), checkout / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "import torch, sys; from pathlib import Path\n"
        "net = torch.hub.load(sys.argv[1], 'resnet18', source='local', num_classes=7)\n"
        "import netwright; print(net(torch.zeros(1, 3, 64, 64)).shape[1], Path(netwright.__file__).parents[2])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(checkout)],
        env={**os.environ, "PYTHONPATH": str(installed.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["7", str(checkout)], done.stderr


def test_exactly_what_loading_imports_is_declared_so_that_torch_hub_names_what_is_missing():
    library = Path(ROOT, "lib", "netwright")
    rooms = [*library.glob("nets/*.py"), *library.glob("weights/*.py")]
    rooms += [library / f"{name}.py" for name in ("models", "images", "imagenet", "transforms", "paths")]
    nodes = [node for path in rooms for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    packages = {name.split(".")[0] for name in names}
    hubconf = torch.hub._import_module("hubconf", f"{ROOT}/hubconf.py")
    assert set(hubconf.dependencies) == packages - set(sys.stdlib_module_names) - {"netwright"}
