"""Every row of the catalogue the whole way: served under its publisher's name, fetched, proven, converted, loaded."""

import functools
import gc
from urllib.parse import urlsplit

import pytest
import torch

import netwright as nw
from netwright.nets.zoo import CONFIGS
from netwright.weights.catalogue import catalogue
from parity import picture, relative_error, timm_net
from published import empty_machine, write_published
from publisher_files import write_like
from publisher_server import Publisher, install, repoint

ROWS = [weights for weights in catalogue() if weights.architecture in CONFIGS]
OPTIONAL_ROWS = {29, 30, 31}


@pytest.fixture
def machine(tmp_path):
    with empty_machine(tmp_path) as patch:
        yield patch
    gc.collect()  # before the next net of up to 777 MB


@pytest.fixture
def publisher():
    with Publisher() as server:
        yield server


@functools.lru_cache(maxsize=1)  # rows of one architecture follow each other; two of the largest nets would be 1.6 GB
def peer(architecture: str):
    return timm_net(architecture).eval()


def test_every_required_row_is_among_them():
    assert {weights.row for weights in ROWS} >= set(range(1, 39)) - OPTIONAL_ROWS


@pytest.mark.parametrize(
    "weights", sorted(ROWS, key=lambda weights: (weights.architecture, weights.row)), ids=lambda w: f"{w.row}-{w.name}"
)
def test_the_publishers_file_by_the_publishers_name_gives_timms_logits(weights, machine, publisher, tmp_path):
    theirs, file = peer(weights.architecture), weights.files[0]
    written = write_published(weights, theirs, tmp_path)
    content, path = written.read_bytes(), urlsplit(file.url).path.lstrip("/")
    written.unlink()
    install(machine, repoint(weights, content, publisher.serve(path, content, etag='"once"')))
    del content

    net = nw.create_model(weights.aliases[0], pretrained=True, progress=False).eval()

    assert [request.status for request in publisher.asked(path)] == [200]
    assert path.endswith(file.filename)
    assert net.weights.name == weights.name and net.config == CONFIGS[weights.architecture]
    assert sum(parameter.numel() for parameter in net.parameters()) == weights.parameters
    x = picture(weights.architecture, torch.float32)
    with torch.inference_mode():
        expected, found = theirs(x), net(x)
    assert expected.std() > 1e-3  # logits that differ from picture to picture, not a net that has gone quiet
    assert relative_error(found, expected) <= 1e-4


@pytest.mark.parametrize("name", ["resnet18.fb_ssl_yfcc100m_ft_in1k", "resnest14d.gluon_in1k", "halonet26t.a1h_in1k"])
def test_the_safetensors_twin_gives_the_same_logits(name, machine, publisher, tmp_path):
    weights = next(weights for weights in ROWS if weights.name == name)
    theirs = peer(weights.architecture)
    content = write_like("safetensors", theirs.state_dict(), tmp_path / "model.safetensors").read_bytes()
    install(machine, repoint(weights, content, publisher.serve("model.safetensors", content)))
    net = nw.create_model(name, pretrained=True, progress=False).eval()
    x = picture(weights.architecture, torch.float32)
    with torch.inference_mode():
        assert relative_error(net(x), theirs(x)) <= 1e-4
