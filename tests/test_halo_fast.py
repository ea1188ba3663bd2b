"""The fast halo attention equals the formula: written in loops, in its readable form, and in timm."""

import math

import pytest
import torch

from netwright.nets import halo_pieces
from netwright.nets.halo_fast import fast_halo_attention, folded_attention
from netwright.nets.halonet import halo_attention
from peers import timm


def example(batch=2, heads=2, key_dim=3, value_dim=5, block_size=4, halo=1, rows=2, columns=3, stride=1, **kwargs):
    """Random arguments: ((query, key_value, height_table, width_table), sizes). rows, columns: of blocks."""
    kwargs = {"dtype": torch.float64, "generator": torch.Generator().manual_seed(7)} | kwargs
    height, width, table = rows * block_size, columns * block_size, 2 * (block_size + 2 * halo) - 1
    tensors = (
        torch.randn(batch, heads * key_dim, height // stride, width // stride, **kwargs),
        torch.randn(batch, heads * (key_dim + value_dim), height, width, **kwargs),
        torch.randn(table, key_dim, **kwargs),
        torch.randn(table, key_dim, **kwargs),
    )
    return tensors, {"heads": heads, "block_size": block_size, "halo": halo, "key_dim": key_dim, "value_dim": value_dim}


SHAPES = {
    "rectangular map, wider values": {},
    "odd batch, one block, mostly padding": {"batch": 3, "halo": 3, "rows": 1, "columns": 1, "value_dim": 3},
    "stride 2": {"stride": 2, "rows": 5, "columns": 4, "key_dim": 4, "value_dim": 2},
    "no halo": {"halo": 0, "heads": 1},
    "halo wider than a block": {"block_size": 2, "halo": 5, "rows": 3, "columns": 4},
    "blocks inside, edges on all sides": {"batch": 1, "rows": 4, "columns": 5},
    "three pieces: corners, edges, centre": {"batch": 2, "rows": 3, "columns": 3, "stride": 2},
    "keys of 16, values of 64": {"key_dim": 16, "value_dim": 64, "rows": 1, "columns": 2},
    "one pixel": {"block_size": 1, "halo": 0, "rows": 1, "columns": 1, "batch": 1},
}


def in_loops(query, key_value, height_table, width_table, heads, block_size, halo, key_dim, value_dim):
    """The definition, one query and one key at a time."""
    batch, _, height, width = key_value.shape
    out = query.new_zeros(batch, heads * value_dim, *query.shape[2:])
    side, window = query.shape[2] * block_size // height, block_size + 2 * halo
    for b in range(batch):
        for n in range(heads):
            content = key_value[b].unflatten(0, (heads, -1))[n]
            for row in range(query.shape[2]):
                for column in range(query.shape[3]):
                    q = query[b, n * key_dim : (n + 1) * key_dim, row, column]
                    logits, values = [], []
                    for u in range(window):
                        for v in range(window):
                            y = row // side * block_size - halo + u
                            x = column // side * block_size - halo + v
                            inside = 0 <= y < height and 0 <= x < width
                            key = content[:, y, x] if inside else torch.zeros_like(content[:, 0, 0])
                            position = height_table[window - 1 + u - row % side]
                            position = position + width_table[window - 1 + v - column % side]
                            logits.append(q @ key[:key_dim] / math.sqrt(key_dim) + q @ position)
                            values.append(key[key_dim:])
                    weights = torch.stack(logits).softmax(0)
                    out[b, n * value_dim : (n + 1) * value_dim, row, column] = weights @ torch.stack(values)
    return out


def folded(*tensors, **sizes):
    return folded_attention(*tensors, *sizes.values())


def with_gradients(attend, tensors, sizes, grad):
    tensors = [t.detach().requires_grad_() for t in tensors]
    out = attend(*tensors, **sizes)
    return out, *torch.autograd.grad(out, tensors, grad.to(out.dtype))


def assert_all_close(found, wanted, tolerance):
    for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1e-3), f"tensor {i}"


@pytest.mark.parametrize("stride", [1, 2])
def test_it_is_the_definition_written_in_loops(stride):
    tensors, sizes = example(batch=1, block_size=2, halo=1, columns=2, stride=stride)
    assert_all_close([fast_halo_attention(*tensors, **sizes)], [in_loops(*tensors, **sizes)], 1e-12)


@pytest.mark.parametrize("form", [fast_halo_attention, folded])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_forward_and_every_gradient_equal_the_readable_form(form, shape, memory_format):
    (query, key_value, *tables), sizes = example(**shape)
    tensors = query.contiguous(memory_format=memory_format), key_value.contiguous(memory_format=memory_format), *tables
    grad = torch.randn(halo_attention(*tensors, **sizes).shape, generator=torch.Generator().manual_seed(8)).double()
    wanted = with_gradients(halo_attention, tensors, sizes, grad)
    assert_all_close(with_gradients(form, tensors, sizes, grad), wanted, 1e-10)


@pytest.mark.parametrize("cache_bytes", [1, 20_000, 100_000])
def test_the_size_of_the_pieces_does_not_change_the_numbers(monkeypatch, cache_bytes):
    tensors, sizes = example(batch=5, rows=3, columns=6)
    grad = torch.randn(5, 10, 12, 24, generator=torch.Generator().manual_seed(8)).double()
    wanted = with_gradients(halo_attention, tensors, sizes, grad)
    monkeypatch.setattr(halo_pieces, "CACHE_BYTES", cache_bytes)
    assert_all_close(with_gradients(fast_halo_attention, tensors, sizes, grad), wanted, 1e-10)


@pytest.mark.parametrize("stride", [1, 2])
def test_its_gradients_are_those_of_finite_differences(stride):
    tensors, sizes = example(batch=1, block_size=2, halo=1, key_dim=2, value_dim=1, rows=1, stride=stride)
    assert torch.autograd.gradcheck(
        lambda *t: fast_halo_attention(*t, **sizes), [t.requires_grad_() for t in tensors], fast_mode=True
    )


@pytest.mark.parametrize(
    ("kwargs", "sizes"),
    [
        ({"dim": 16, "num_heads": 2}, {"key_dim": 8, "value_dim": 8}),
        ({"dim": 16, "num_heads": 2, "stride": 2, "dim_head": 4}, {"key_dim": 4, "value_dim": 8}),
    ],
)
def test_it_equals_timm_with_the_same_weights(kwargs, sizes):
    torch.manual_seed(3)
    layer = timm.layers.halo_attn.HaloAttn(**kwargs).double()
    x = torch.randn(3, 16, 16, 24, dtype=torch.float64)
    with torch.no_grad():
        found = fast_halo_attention(
            layer.q(x), layer.kv(x), layer.pos_embed.height_rel, layer.pos_embed.width_rel,
            heads=2, block_size=8, halo=3, **sizes,
        )  # fmt: skip
        assert_all_close([found], [layer(x)], 1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 4e-2)])
def test_single_and_half_precision_stay_near_double(dtype, tolerance):
    tensors, sizes = example(block_size=8, halo=3, key_dim=16, value_dim=16)
    tensors = tuple(t.to(dtype) for t in (*tensors[:2], *(table / 4 for table in tensors[2:])))
    grad = torch.randn(2, 32, 16, 24, generator=torch.Generator().manual_seed(8)).to(dtype)
    wanted = with_gradients(halo_attention, [t.double() for t in tensors], sizes, grad)
    found = with_gradients(fast_halo_attention, tensors, sizes, grad)
    assert all(t.dtype == dtype for t in found)
    assert_all_close(found, wanted, tolerance)


def test_autocast_projections_meet_single_precision_tables():
    tensors, sizes = example(dtype=torch.float32)
    wanted = fast_halo_attention(*tensors, **sizes)
    with torch.autocast("cpu", torch.bfloat16):
        found = fast_halo_attention(*(t.bfloat16() for t in tensors[:2]), *tensors[2:], **sizes)
        assert torch.equal(fast_halo_attention(*tensors, **sizes), wanted)  # float32 asked, float32 computed
    assert found.dtype == torch.bfloat16
    assert_all_close([found], [wanted], 5e-2)


def test_huge_logits_neither_overflow_nor_lose_the_padding():
    tensors, sizes = example(halo=3, rows=1, columns=1, dtype=torch.float32)
    tensors = *tensors[:2], *(table * 300 for table in tensors[2:])
    grad = torch.ones(2, 10, 4, 4)
    wanted = with_gradients(halo_attention, [t.double() for t in tensors], sizes, grad)
    assert_all_close(with_gradients(fast_halo_attention, tensors, sizes, grad), wanted, 1e-3)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_result_keeps_the_memory_format_of_the_query(memory_format):
    (query, key_value, *tables), sizes = example()
    for form in (fast_halo_attention, folded):
        out = form(query.contiguous(memory_format=memory_format), key_value, *tables, **sizes)
        assert out.is_contiguous(memory_format=memory_format)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_operator_keeps_pytorchs_rules_for_operators():
    tensors, sizes = example(dtype=torch.float32)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        maps = (t.contiguous(memory_format=memory_format).requires_grad_() for t in tensors[:2])
        results = torch.library.opcheck(halo_pieces.attend_in_pieces, (*maps, *tensors[2:], *sizes.values()))
        assert set(results.values()) == {"SUCCESS"}


def test_torch_compile_sees_one_operator_and_no_graph_break():
    tensors, sizes = example(dtype=torch.float32)
    grad = torch.randn(2, 10, 8, 12, generator=torch.Generator().manual_seed(8))
    wanted = with_gradients(fast_halo_attention, tensors, sizes, grad)
    compiled = torch.compile(fast_halo_attention, fullgraph=True, backend="aot_eager")
    assert_all_close(with_gradients(compiled, tensors, sizes, grad), wanted, 1e-6)


def test_a_training_step_saves_nothing_but_its_inputs():
    tensors, sizes = example()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.data_ptr()) or t, lambda t: t):
        fast_halo_attention(*(t.requires_grad_() for t in tensors), **sizes)
    assert set(saved) == {t.data_ptr() for t in tensors}


def test_a_second_derivative_is_refused_and_says_what_to_use():
    tensors, sizes = example(batch=1)
    query = tensors[0].requires_grad_()
    out = fast_halo_attention(*tensors, **sizes)
    (grad,) = torch.autograd.grad(out.square().sum(), query, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative: call `halo_attention`"):
        grad.sum().backward()


def test_an_empty_batch_gives_an_empty_result_and_zero_gradients():
    tensors, sizes = example(batch=0)
    out, *grads = with_gradients(fast_halo_attention, tensors, sizes, torch.empty(0, 10, 8, 12))
    assert out.shape == (0, 10, 8, 12)
    assert all((g == 0).all() for g in grads)


@pytest.mark.parametrize(
    ("name", "index", "shape"),
    [
        ("query", 0, (2, 7, 8, 12)),
        ("query", 0, (2, 6, 8, 11)),
        ("query", 0, (2, 6, 1, 1)),
        ("key_value", 1, (2, 15, 8, 12)),
        ("height_table", 2, (10, 3)),
        ("width_table", 3, (11, 4)),
        ("4x4 blocks tile, not 9x12", 1, (2, 16, 9, 12)),
        ("4x4 blocks tile, not 0x12", 1, (2, 16, 0, 12)),
    ],
)
def test_shapes_that_do_not_fit_are_named(name, index, shape):
    tensors, sizes = example()
    tensors = [*tensors[:index], torch.zeros(shape, dtype=torch.float64), *tensors[index + 1 :]]
    with pytest.raises(ValueError, match=name):
        fast_halo_attention(*tensors, **sizes)
