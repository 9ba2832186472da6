"""What a decoder computes of the encoder's states alone moves to the encoder, which stores it: keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.frontend.export import attribute, set_tensor
from edgeq.ir.graph import (
    arguments,
    calls,
    hf_name,
    inputs,
    insert,
    output,
    remove_unused,
    replace,
    run_fake,
    site,
    value,
)
from edgeq.ir.types import fake_mode

HIDDEN, COUNT = "encoder_hidden_states", "n_keys"


@dataclass(frozen=True)
class Cross:
    """One cross-attention: where its keys and values are computed, their heads, and its Hugging Face module."""

    k: fx.Node
    v: fx.Node
    kv_heads: int
    module: str


@dataclass
class Prelude:
    """The part of a decoder that depends on the encoder alone; it stays in `gm` until `drop`.

    capacity: positions that the caches hold. constant: whether every text has the same number of keys.
    """

    gm: fx.GraphModule
    sites: list[Cross]
    capacity: int
    constant: bool

    def append_to(self, encoder: fx.GraphModule, index: int, mask: str) -> None:
        """Continue an encoder's graph from its output `index`: keys and values are computed and stored.

        mask: the input whose nonzero entries are counted, unless the number of keys is constant.
        """
        end = output(encoder)
        made = {inputs(self.gm)[HIDDEN]: end.args[0][index]}  # type: ignore[index]
        for layer, cross in enumerate(self.sites):
            caches = [_state(encoder, *_cache(cross, name, layer, self.capacity)) for name in ("k", "v")]
            with encoder.graph.inserting_before(end):
                given = [_copy(encoder, node, made) for node in (cross.k, cross.v)]
                insert(encoder.graph, "edgeq.store_keys", *given, *caches, kv="f32").meta["hf"] = cross.module
        if not self.constant:
            counter = _state(encoder, COUNT, (1,), torch.int32)
            with encoder.graph.inserting_before(end):
                insert(encoder.graph, "edgeq.count_keys", inputs(encoder)[mask], counter)
        encoder.graph.lint()
        encoder.recompile()

    def drop(self) -> None:
        """Leave the decoder alone in its graph."""
        remove_unused(self.gm)
        hidden = inputs(self.gm)[HIDDEN]
        readers = [site(user) for user in hidden.users]
        if readers:
            listed = ", ".join(readers)
            raise UnsupportedError(f"the decoder reads the encoder's states in {listed}; edgeq compiles attention only")
        self.gm.graph.erase_node(hidden)
        self.gm.graph.lint()
        self.gm.recompile()


def cut(gm: fx.GraphModule, capacity: int, keys: int | None) -> Prelude:
    """Turn cross-attentions of a raised decoder into `edgeq.cross_attention` over caches of `capacity` positions.

    keys: how many of them are real where that is constant; None makes it the input `n_keys`.

    Raises:
        UnsupportedError: cross-attention with a mask or a bias; every site is listed.
    """
    memory = _over(gm)
    found = [n for n in calls(gm, "edgeq.attention") if {arguments(n)["k"], arguments(n)["v"]} <= memory]
    faults = [f"  {site(n)}: {why}" for n in found if (why := _why_not(n))]
    if faults or not found:
        lines = "\n".join(faults or ["  there is none"])
        raise UnsupportedError(f"cross-attention that edgeq does not compile:\n{lines}")
    count = _state(gm, COUNT, (1,), torch.int32) if keys is None else _constant(gm, keys)
    sites = [_attend(gm, layer, node, capacity, count) for layer, node in enumerate(found)]
    return Prelude(gm, sites, capacity, keys is not None)


def _over(gm: fx.GraphModule) -> set[fx.Node]:
    """What depends on the encoder's states and on no token."""
    states, tokens = {inputs(gm)[HIDDEN]}, {node for name, node in inputs(gm).items() if name != HIDDEN}
    for node in gm.graph.nodes:
        if any(source in tokens for source in node.all_input_nodes):
            tokens.add(node)
        elif any(source in states for source in node.all_input_nodes):
            states.add(node)
    return states


def _why_not(node: fx.Node) -> str:
    given = arguments(node)
    held = [name for name in ("pad", "bias", "sinks", "row_bias", "column_bias") if given[name] is not None]
    if held:
        return f"it takes {', '.join(held)}"
    return "it does not see every key" if given["causal"] or given["left"] >= 0 or given["right"] >= 0 else ""


def _attend(gm: fx.GraphModule, layer: int, node: fx.Node, capacity: int, count: fx.Node) -> Cross:
    given = arguments(node)
    cross = Cross(given["k"], given["v"], given["kv_heads"], hf_name(node))
    caches = [_state(gm, *_cache(cross, name, layer, capacity)) for name in ("k", "v")]
    kept = {name: given[name] for name in ("heads", "kv_heads", "scale", "softcap")}
    with gm.graph.inserting_before(node):
        new = insert(gm.graph, "edgeq.cross_attention", given["q"], *caches, count, **kept, kv="f32", like=node)
    replace(node, new)
    return cross


def _cache(cross: Cross, name: str, layer: int, capacity: int) -> tuple[str, tuple[int, ...], torch.dtype]:
    """Name, shape and type of a cache `[1, kv_heads, capacity, D]`."""
    source = {"k": cross.k, "v": cross.v}[name]
    width = int(value(source).shape[-1])
    return f"cross_{name}_{layer}", (1, cross.kv_heads, capacity, width // cross.kv_heads), torch.float32


def _state(gm: fx.GraphModule, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> fx.Node:
    """A new last input: memory that entries share."""
    with gm.graph.inserting_after(list(inputs(gm).values())[-1]):
        node = gm.graph.create_node("placeholder", name, name=name)
    _type(node, shape, dtype)
    return node


def _constant(gm: fx.GraphModule, keys: int) -> fx.Node:
    set_tensor(gm, COUNT, torch.tensor([keys], dtype=torch.int32))
    with gm.graph.inserting_after(list(inputs(gm).values())[-1]):
        node = gm.graph.create_node("get_attr", COUNT, name=COUNT)
    _type(node, (1,), torch.int32)
    return node


def _type(node: fx.Node, shape: Any, dtype: torch.dtype, hf: str = "") -> None:
    with fake_mode(node.graph):
        node.meta.update(val=torch.empty(shape, dtype=dtype), hf=hf)


def _copy(encoder: fx.GraphModule, node: fx.Node, made: dict[fx.Node, fx.Node]) -> fx.Node:
    """A node of the decoder's graph, with what it needs, at the insertion point of the encoder's, typed anew."""
    if node in made:
        return made[node]
    for source in node.all_input_nodes:
        _copy(encoder, source, made)
    new = made[node] = encoder.graph.node_copy(node, made.__getitem__)
    if node.op == "get_attr":
        _hold(encoder, node, new)
        _type(new, value(node).shape, value(node).dtype)
    else:
        new.meta = {"val": run_fake(new), "hf": hf_name(node)}
    return new


def _hold(encoder: fx.GraphModule, node: fx.Node, new: fx.Node) -> None:
    """Give the encoder's module the tensor; buffers that the decoder's graph computed get a name of their own."""
    tensor = attribute(node.graph.owning_module, str(node.target))  # type: ignore[arg-type]
    if tensor.device.type != "meta":
        new.target = f"decoder_{node.target}"
    set_tensor(encoder, str(new.target), tensor)
