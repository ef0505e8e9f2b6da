"""Gradients that cross between PyTorch's graph and ours, against the same computation in PyTorch alone."""

import pytest

import trustformers._engine as tf

torch = pytest.importorskip("torch")


def leaf(*shape: int, seed: int = 0) -> "torch.Tensor":
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def ours(tensor) -> tf.Tensor:
    return tf.Tensor.from_torch(tensor)


def check(got, expected) -> None:
    got = got.to_torch() if isinstance(got, tf.Tensor) else got
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_torch_to_ours_to_torch_from_torchs_side() -> None:
    x, w = leaf(3, 4), leaf(4, seed=1)
    mine = tf.Tensor.from_torch(w.detach().clone()).requires_grad_()
    (ours(x * 2) * mine).exp().to_torch().sin().sum().backward()
    got = x.grad.clone(), mine.grad
    x.grad = None
    (x * 2 * w).exp().sin().sum().backward()
    check(got[0], x.grad)
    check(got[1], w.grad)


def test_torch_to_ours_to_torch_to_ours_from_our_side() -> None:
    x, w = leaf(3, 4), leaf(4, seed=1)
    mine = tf.Tensor.from_torch(w.detach().clone()).requires_grad_()
    theirs = (ours(x.exp()) * mine).to_torch().tanh()
    (ours(theirs) + mine).square().sum().backward()
    got = x.grad.clone(), mine.grad
    x.grad = None
    ((x.exp() * w).tanh() + w).square().sum().backward()
    check(got[0], x.grad)
    check(got[1], w.grad)


def test_shared_parts_on_both_sides() -> None:
    def compute(x, w, cross, back):
        h = (x * w).exp()
        a = cross(h)
        b = a.square()
        return back(b * a).sin().sum() + back(b).sum() + h.sum() + back(cross(x).exp()).sum()

    x, w = leaf(2, 3), leaf(2, 3, seed=2)
    compute(x, w, ours, lambda t: t.to_torch()).backward()
    got = x.grad.clone(), w.grad.clone()
    x.grad = w.grad = None
    compute(x, w, lambda t: t, lambda t: t).backward()
    check(got[0], x.grad)
    check(got[1], w.grad)


def test_functions_of_torch_keep_gradients() -> None:
    w = leaf(3, 4)
    mine = tf.Tensor.from_torch(w.detach().clone()).requires_grad_()
    out = torch.nn.functional.softplus(mine * 2)
    assert out.requires_grad
    out.sum().backward()
    torch.nn.functional.softplus(w * 2).sum().backward()
    check(mine.grad, w.grad)


def test_torch_optimises_through_ours() -> None:
    x = leaf(5)
    optimizer = torch.optim.SGD([x], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        ours(x).sub(1).square().sum().to_torch().backward()
        optimizer.step()
    torch.testing.assert_close(x.detach(), torch.ones(5, dtype=torch.float64), rtol=1e-3, atol=1e-3)


def test_no_grad_on_either_side_cuts() -> None:
    x = leaf(3)
    with torch.no_grad():
        assert not ours(x).requires_grad
    assert not ours(x.detach()).requires_grad
    before = tf.set_grad_enabled(False)
    try:
        assert not ours(x).requires_grad
    finally:
        tf.set_grad_enabled(before)
    assert ours(x).requires_grad


def test_changes_in_place_are_noticed() -> None:
    x = leaf(3)
    h = x * 1
    y = ours(h).exp().sum()
    h += 1
    with pytest.raises(RuntimeError, match="in-place"):
        y.backward()
    z = ours(x).exp().to_torch()
    z += 1
    with pytest.raises(RuntimeError, match="inplace"):
        z.sum().backward()


def test_a_graph_is_walked_once_unless_retained() -> None:
    x = leaf(3)
    y = ours(x.exp()).exp().sum()
    y.backward(retain_graph=True)
    once = x.grad.clone()
    y.backward()
    check(x.grad, once * 2)
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


def through(x):
    """Ours in the middle of a graph of PyTorch's."""
    return (ours(x).exp() * ours(x)).to_torch()


def test_grad_of_torch_returns_what_is_on_its_side() -> None:
    x, w = leaf(3), leaf(3, seed=1)
    mine = tf.Tensor.from_torch(w.detach().clone()).requires_grad_()
    h = x * 2
    out = ((through(h) + ours(w).sin().to_torch()) * (mine * 3).to_torch()).sum()
    got = torch.autograd.grad(out, [x, h, w], retain_graph=True)
    assert all(leaf.grad is None for leaf in (x, w, mine))
    expected = torch.autograd.grad((((h.exp() * h) + w.sin()) * (w.detach() * 3)).sum(), [x, h, w])
    for a, b in zip(got, expected, strict=True):
        check(a, b)
    # Of a part only, and of what it does not depend on.
    check(torch.autograd.grad(out, w, retain_graph=True)[0], expected[2])
    assert torch.autograd.grad(through(x).sum(), [w], allow_unused=True) == (None,)


def test_several_outputs_and_a_leaf_used_twice() -> None:
    def compute(x, cross, back):
        a, b = cross(x).chunk(2)
        y = cross(x).sin()
        return back(a * b), back(y), back(cross(x) * cross(x))

    x = leaf(4)
    seeds = [leaf(2, seed=3).detach(), leaf(4, seed=4).detach(), leaf(4, seed=5).detach()]
    got = torch.autograd.grad(compute(x, ours, lambda t: t.to_torch()), x, seeds)
    expected = torch.autograd.grad(compute(x, lambda t: t, lambda t: t), x, seeds)
    check(got[0], expected[0])
    torch.autograd.backward(compute(x, ours, lambda t: t.to_torch()), seeds)
    check(x.grad, expected[0])


def test_gradients_of_gradients_do_not_cross() -> None:
    x = leaf(3)
    with pytest.raises(RuntimeError, match="create_graph"):
        torch.autograd.grad(through(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="create_graph"):
        ours(x).exp().sum().backward(create_graph=True)
    assert x.grad is None


def test_grad_of_ours_does_not_lose_what_lies_behind_torch() -> None:
    mine = tf.ones(3, dtype="float64", requires_grad=True)
    other = tf.ones(3, dtype="float64", requires_grad=True)
    x = leaf(3)
    behind = ours(mine.exp().to_torch() * 2)
    with pytest.raises(RuntimeError, match=r"backward\(\)"):
        tf.grad((behind * other).sum(), mine)
    check(tf.grad((behind * other).sum(), other)[0], behind.detach().to_torch())
    # A bridge that leads nowhere of ours hides nothing.
    assert tf.grad((ours(x) * other).sum(), mine) == (None,)
    bridge = ours(x)
    check(tf.grad(bridge.square().sum(), bridge)[0], (2 * x).detach())
    (behind * other).sum().backward()
    check(mine.grad, torch.full((3,), 2 * torch.e, dtype=torch.float64))
