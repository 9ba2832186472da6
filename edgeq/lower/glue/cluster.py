"""Clusters: connected glue nodes that can be compiled as one program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import fx


@dataclass(frozen=True)
class Cluster:
    """Glue nodes in graph order, what they read from outside, and which of them are used outside."""

    nodes: tuple[fx.Node, ...]
    inputs: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]


def clusters(graph: fx.Graph, is_glue: Callable[[fx.Node], bool]) -> list[Cluster]:
    """Maximal convex clusters, in the order in which they can run.

    A node's *depth* is the number of other ops on the longest path that leads to it. Connected glue nodes of one depth
    form a cluster: a path that left it through another op would come back deeper, so every cluster is convex.
    """
    order = {node: i for i, node in enumerate(graph.nodes)}
    depths = _depths(graph, is_glue)
    root: dict[fx.Node, fx.Node] = {}
    for node in depths:
        root[node] = node
        for source in node.all_input_nodes:
            if depths.get(source) == depths[node]:
                root[_find(root, source)] = _find(root, node)
    groups: dict[fx.Node, list[fx.Node]] = {}
    for node in depths:
        groups.setdefault(_find(root, node), []).append(node)
    found = [_cluster(tuple(nodes), order) for nodes in groups.values()]
    return sorted(found, key=lambda c: (depths[c.nodes[0]], order[c.nodes[0]]))


def _depths(graph: fx.Graph, is_glue: Callable[[fx.Node], bool]) -> dict[fx.Node, int]:
    """Depth of every glue node, in graph order."""
    depth: dict[fx.Node, int] = {}
    glue: dict[fx.Node, int] = {}
    for node in graph.nodes:
        below = max((depth[source] for source in node.all_input_nodes), default=0)
        if is_glue(node):
            depth[node] = glue[node] = below
        else:
            depth[node] = below + 1
    return glue


def _find(root: dict[fx.Node, fx.Node], node: fx.Node) -> fx.Node:
    while root[node] is not node:
        root[node] = root[root[node]]
        node = root[node]
    return node


def _cluster(nodes: tuple[fx.Node, ...], order: dict[fx.Node, int]) -> Cluster:
    inside = set(nodes)
    inputs = {source for node in nodes for source in node.all_input_nodes} - inside
    outputs = tuple(node for node in nodes if any(user not in inside for user in node.users))
    return Cluster(nodes, tuple(sorted(inputs, key=order.__getitem__)), outputs)
