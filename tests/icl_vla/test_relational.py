"""The learned policy's network: what must hold whatever its weights are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from icl_vla.policy.frames import Correspondence, frames_now
from icl_vla.policy.moment import Moment, moment_of, most_shared, side_by_side
from icl_vla.policy.pairs import candidates, names
from icl_vla.policy.relational import IclVlaConfig, IclVlaPolicy
from icl_vla.policy.retrieval import RetrievalConfig
from icl_vla.training.programs import FAMILIES
from icl_vla.training.rollout import Job, World, roll_out
from icl_vla.training.sensing import Sight, context, poses, see
from icl_vla_embodiments import se3

ALL = 10_000  # frames: none is left out
COUNT = 6  # demonstrations


def scene(family="place_in", seed=0, at=0.3):
    """Contexts, pointers, the hand and tokens in the midst of a random task."""
    rng = np.random.default_rng(seed)
    program = FAMILIES[family](rng)
    world, sight = World(0.04, (0.16, 0.25), ((1.0, 1.0, 1.0),)), Sight.draw(program, rng)
    (rollout,) = roll_out([Job(program, world, COUNT, 1)], rng)
    seen = [see(rollout, n, world, sight, rng) for n in range(COUNT + 1)]
    contexts = [context(rollout, n, seen[n], sight, n) for n in range(COUNT)]
    pointers = np.array([int(at * len(c)) for c in contexts])
    t = int(at * len(seen[COUNT].positions))
    tcp = poses(rollout.hand[t, COUNT], sight)
    tokens = seen[COUNT].tracked(t)
    return contexts, pointers, tcp, tokens, Correspondence(contexts, tokens)


def moment(family="place_in", seed=0, at=0.3):
    contexts, pointers, tcp, tokens, correspondence = scene(family, seed, at)
    weights = np.random.default_rng(seed).dirichlet(np.full(COUNT, 5.0))
    costs = np.full(COUNT, 0.2)
    return moment_of(contexts, pointers, weights, costs, tcp, 1.0, tokens, correspondence, 8)


def network(seed=0, zero=False, **kwargs):
    """Random weights, or those before any training."""
    torch.manual_seed(seed)
    made = IclVlaPolicy(IclVlaConfig(width=24, layers=2, heads=2, **kwargs)).eval()
    if not zero:
        with torch.no_grad():
            for head in (made.logits, made.openings, made.correction, made.verdict):
                head.weight.normal_(0, 0.3)
    return made


def ask(net, *moments):
    with torch.inference_mode():
        return net(**side_by_side(moments))


@pytest.mark.parametrize("family", ["place_in", "align", "follow"])
def test_frames_are_those_of_the_vote(family):
    contexts, pointers, tcp, tokens, correspondence = scene(family)
    votes = candidates(side_by_side([moment(family)]))
    hands = np.stack([c.tcp[t, :3, 3] for c, t in zip(contexts, pointers, strict=True)])
    carried = votes.places(torch.tensor(hands[None], dtype=torch.float32))[0].numpy()
    valid = votes.valid[0].numpy()
    called = names(most_shared(correspondence))
    count = 0
    for frame in frames_now(contexts, pointers, tcp, tokens, correspondence):
        expected = se3.act(frame.X, hands[:, None])[:, 0]
        alike = (valid == frame.valid).all(axis=1)
        off = np.abs(carried - expected).max(axis=-1)[:, frame.valid].max(axis=1, initial=0.0)
        assert off[alike].min() < 2e-5, frame.name  # float32 at 1 m
        row = called.index(frame.name)
        assert alike[row] and off[row] < 2e-5, frame.name
        count += frame.valid.any()
    assert valid.any(axis=1).sum() == count


@pytest.mark.parametrize("family", ["reach", "place_in", "push_to", "press"])
def test_untrained_it_weighs_frames_by_inverse_variance(family):
    contexts, pointers, tcp, tokens, correspondence = scene(family)
    m, config, net = moment(family), RetrievalConfig(), network(zero=True, frames=ALL)
    means, precisions = [], []
    for f in frames_now(contexts, pointers, tcp, tokens, correspondence):
        known = m.weights * f.valid
        if not f.outside or not known.any():
            continue
        p = (f.X[:, None] @ m.commands)[..., :3, 3]
        mean = np.einsum("k,khi->hi", known / known.sum(), p)
        variance = np.einsum("k,khi->h", known / known.sum(), (p - mean) ** 2)
        means.append(mean)
        precisions.append(known.sum() * (variance + config.noise**2) ** -net.config.sharpness)
    share = np.array(precisions) / np.sum(precisions, axis=0)
    expected = np.einsum("fh,fhi->hi", share, means)
    answer = ask(net, m)
    assert np.abs(answer.position[0].numpy() - expected).max() < 1e-4  # [m], float32


def test_untrained_it_takes_the_rotation_that_most_demonstrations_agree_on():
    m = moment("press")
    turned = np.tile(se3.yaw(0.7), (*m.commands.shape[:2], 1, 1))
    turned[:2] = se3.yaw(2.5)  # two of them grasp in another way
    alone = replace(
        m,
        commands=se3.pose(turned, m.commands[..., :3, 3]),
        weights=np.full_like(m.weights, 1 / len(m.weights)),
        likeness=np.full_like(m.likeness, -1.0),  # nothing but the base to go by
    )
    R = ask(network(zero=True, frames=ALL), alone).rotation[0].double().numpy()
    off = se3.log3(se3.project_rotation(R) @ se3.yaw(-0.7))
    assert np.linalg.norm(off, axis=-1).max() < 1e-3  # [rad], float32


def test_turning_the_world_turns_the_answer():
    m, T = moment("push_to"), se3.pose(se3.yaw(1.1), [0.2, -0.3, 0.07])
    turned = {
        **{n: T @ getattr(m, n) for n in ("tcp", "tcp_then", "commands")},
        **{n: se3.act(T, getattr(m, n)) for n in ("tokens", "first", "tokens_then", "first_then")},
    }
    net = network(frames=ALL)
    plain, moved = ask(net, m), ask(net, Moment(**{**m.__dict__, **turned}))
    expected = se3.act(T, plain.position[0].double().numpy())
    assert np.abs(moved.position[0].numpy() - expected).max() < 1e-4
    expected = T[:3, :3] @ plain.rotation[0].double().numpy()
    assert np.abs(moved.rotation[0].numpy() - expected).max() < 1e-3
    for name in ("gripper", "done", "right"):
        torch.testing.assert_close(getattr(moved, name), getattr(plain, name), atol=1e-3, rtol=1e-3)


def test_order_of_demonstrations_and_tokens_says_nothing():
    m, net = moment("follow"), network(frames=ALL)
    plain = ask(net, m)
    order = np.random.default_rng(0).permutation(COUNT)
    other = ask(net, m.of(order))
    torch.testing.assert_close(other.position, plain.position, atol=2e-5, rtol=0)
    torch.testing.assert_close(other.gripper, plain.gripper[..., order], atol=1e-4, rtol=0)
    swap = np.random.default_rng(1).permutation(len(m.tokens))
    assert len(swap) > 1
    names = {"tokens": 0, "first": 0, "seen": 0, "tokens_then": 1, "first_then": 1, "yaw": 1,
             "likeness": 1}  # fmt: skip
    moved = {n: np.take(getattr(m, n), swap, axis) for n, axis in names.items()}
    other = ask(net, Moment(**{**m.__dict__, **moved}))
    torch.testing.assert_close(other.position, plain.position, atol=2e-5, rtol=0)


def test_without_correction_places_stay_among_what_is_offered():
    net = network(frames=ALL)
    with torch.no_grad():
        net.correction.weight.zero_()
    m = moment("place_in")
    batch = side_by_side([m])
    votes = candidates(batch)
    p = votes.places(batch["commands"][..., :3, 3])[0][votes.valid[0]]  # (n, H, 3)
    x = ask(net, m).position[0]
    assert (x >= p.amin(0) - 1e-5).all() and (x <= p.amax(0) + 1e-5).all()
    assert (x - ask(network(zero=True, frames=ALL), m).position[0]).abs().max() > 1e-4


def test_neighbours_in_a_batch_say_nothing():
    small, large = moment("reach").of(np.array([0, 1])), moment("follow")
    net = network(frames=ALL)
    alone, beside = ask(net, small), ask(net, small, large)
    torch.testing.assert_close(beside.position[0], alone.position[0], atol=2e-5, rtol=0)
    torch.testing.assert_close(beside.right[0], alone.right[0], atol=1e-4, rtol=0)
    assert float(beside.gripper[0, :, 2:].abs().max()) == 0.0


def test_without_tokens_there_is_still_an_answer():
    m = moment("reach")
    axes = {"tokens": 0, "first": 0, "seen": 0, "tokens_then": 1, "first_then": 1, "yaw": 1,
            "likeness": 1}  # fmt: skip
    none = {n: np.take(getattr(m, n), np.zeros(0, dtype=int), axis) for n, axis in axes.items()}
    alone = Moment(**{**m.__dict__, **none})
    net = network()
    answer, beside = ask(net, alone), ask(net, alone, moment("follow"))
    assert torch.isfinite(answer.position).all()
    torch.testing.assert_close(beside.position[0], answer.position[0], atol=2e-5, rtol=0)


@pytest.mark.parametrize("count", [1, 2])
def test_few_demonstrations_give_an_answer_and_a_gradient(count):
    net = network(zero=True)
    answer = net(**side_by_side([moment("place_in").of(np.arange(count))]))
    assert torch.isfinite(answer.position).all()
    (answer.position.sum() + answer.rotation.sum() + answer.done.sum()).backward()
    assert torch.isfinite(net.logits.weight.grad).all()
    assert net.logits.weight.grad.abs().max() > 0


def test_a_demonstration_in_which_nothing_was_seen_is_no_obstacle():
    contexts, pointers, tcp, tokens, _ = scene("place_in")
    none = {n: getattr(contexts[2], n)[..., :0, :] for n in ("tokens", "first", "features")}
    contexts[2] = replace(
        contexts[2],
        **{**none, "features": contexts[2].features[:0], "clouds": np.zeros((0, 48, 3))},
    )
    correspondence = Correspondence(contexts, tokens)
    weights, costs = np.full(COUNT, 1 / COUNT), np.zeros(COUNT)
    m = moment_of(contexts, pointers, weights, costs, tcp, 1.0, tokens, correspondence, 8)
    assert (m.likeness[2] < 0).all() and (np.delete(m.likeness, 2, 0) >= 0).any()
    assert torch.isfinite(ask(network(), m).position).all()


def test_saved_and_loaded_it_answers_the_same(tmp_path):
    from transformers import AutoModel

    net = network()
    net.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    for loaded in (IclVlaPolicy.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        m = moment("lid")
        torch.testing.assert_close(ask(loaded.eval(), m).position, ask(net, m).position)
        torch.testing.assert_close(ask(loaded.eval(), m).right, ask(net, m).right)
