"""How glue nodes are gathered: connected, convex, in an order that can run."""

from __future__ import annotations

import torch
from torch import fx

from edgeq.lower.glue.cluster import Cluster, clusters

GLUE = {"add", "mul", "neg"}


def glue(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target in (torch.add, torch.mul, torch.neg)


def graph(build: object) -> fx.Graph:
    made = fx.Graph()
    made.output(build(made))  # type: ignore[operator]
    return made


def names(found: list[Cluster]) -> list[list[str]]:
    return [[n.name for n in c.nodes] for c in found]


def test_an_op_of_ours_between_cuts_a_cluster() -> None:
    def build(g: fx.Graph) -> fx.Node:
        x = g.placeholder("x")
        a = g.create_node("call_function", torch.neg, (x,), name="a")
        ours = g.create_node("call_function", torch.relu, (a,), name="ours")
        b = g.create_node("call_function", torch.neg, (ours,), name="b")
        return g.create_node("call_function", torch.add, (a, b), name="c")

    found = clusters(graph(build), glue)
    assert names(found) == [["a"], ["b", "c"]], "a and c touch, but a path between them leaves the cluster"
    assert [n.name for n in found[1].inputs] == ["a", "ours"]
    assert [n.name for n in found[0].outputs] == ["a"]


def test_unconnected_glue_stays_apart_and_branches_join() -> None:
    def build(g: fx.Graph) -> tuple[fx.Node, ...]:
        x, y = g.placeholder("x"), g.placeholder("y")
        a = g.create_node("call_function", torch.neg, (x,), name="a")
        b = g.create_node("call_function", torch.neg, (y,), name="b")
        c = g.create_node("call_function", torch.neg, (x,), name="c")
        return b, g.create_node("call_function", torch.add, (a, c), name="d")

    found = clusters(graph(build), glue)
    assert names(found) == [["a", "c", "d"], ["b"]]
    assert [n.name for n in found[0].outputs] == ["d"]


def test_clusters_come_in_an_order_that_can_run() -> None:
    def build(g: fx.Graph) -> fx.Node:
        x = g.placeholder("x")
        early = g.create_node("call_function", torch.neg, (x,), name="early")
        ours = g.create_node("call_function", torch.relu, (x,), name="ours")
        deep = g.create_node("call_function", torch.neg, (ours,), name="deep")
        late = g.create_node("call_function", torch.relu, (early,), name="late")
        return g.create_node("call_function", torch.add, (deep, late), name="last")

    made = graph(build)
    done = {n for n in made.nodes if not glue(n)}
    found = clusters(made, glue)
    for cluster in found:
        assert set(cluster.inputs) <= done, "every input is there before the cluster runs"
        done |= set(cluster.nodes)
    assert sorted(n for group in names(found) for n in group) == ["deep", "early", "last"]
