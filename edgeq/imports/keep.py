"""Imported codes put into graphs: a weight that its checkpoint holds on a grid of ours stays on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, fx

from edgeq.errors import UnsupportedError, UsageError
from edgeq.frontend.entries import EntryGraph
from edgeq.frontend.source import Source
from edgeq.imports.checkpoint import ImportedWeights, table_name
from edgeq.imports.held import Held
from edgeq.imports.record import AGAIN, KEPT, ROUNDED, Imported
from edgeq.ir.graph import arguments, insert, op, remove_unused, value
from edgeq.ir.ops.grid import SOURCES
from edgeq.passes.folds.folding import replace_argument

Progress = Callable[[str, int, int], None]
Wanted = Callable[[fx.Node], str]
FEW_BITS, WIDE = 5.1, "w8g32"  # stored bits a weight of what 4-bit codes take at most
COARSE = 0.01  # change of a scale that is no rounding any more
DIGEST = "digest"  # in the meta of an order of columns
NEAR = "nf"  # its codes are kept, its levels rounded to 1/127


def imported(source: Source) -> ImportedWeights | None:
    """The checkpoint's quantized weights; None of a checkpoint of floats."""
    stored = source.weights.stored
    return stored if isinstance(stored, ImportedWeights) else None


def keep_codes(
    source: Source, entries: Sequence[EntryGraph], wanted: Wanted | None, again: bool, progress: Progress
) -> list[Imported]:
    """Put every imported weight on its own grid, in all entries, in place.

    Args:
        source: a quantized checkpoint.
        wanted: the format that a linear or embedding is asked to have; None: whatever its codes have. Where the codes
            of one weight have another, none are kept.
        again: weights that do not keep their codes may be quantized again.

    Returns:
        What became of each weight that the graphs read.

    Raises:
        UnsupportedError: weights that cannot keep their codes, unless `again`; all in one message.
        ModelError: parts that contradict each other.
    """
    weights = imported(source)
    assert weights is not None, "only of quantized checkpoints"
    uses = _uses(source, entries, weights)
    records: list[Imported] = []
    grids: dict[str, Held] = {}
    for done, (name, leaves) in enumerate(uses.items()):
        progress("check the checkpoint's codes", done, len(uses))
        records.append(_checked(weights, name, leaves, wanted, grids))
        if wanted is not None and records[-1].outcome == AGAIN:  # all or nothing
            why = records[-1].reason
            records, grids = [replace(_again(weights, other, why), format="") for other in uses], {}
            break
    for name, grid in grids.items():
        for leaf in uses[name]:
            _put(leaf, name, grid)
    lost = [record for record in records if record.outcome == AGAIN]
    if lost and not again:
        raise UnsupportedError(_refusal(source, lost))
    for entry in entries:
        remove_unused(entry.gm)
        entry.gm.graph.lint()
        entry.gm.recompile()
    return records


def _uses(source: Source, entries: Iterable[EntryGraph], weights: ImportedWeights) -> dict[str, list[fx.Node]]:
    """Imported weight -> the nodes that read it in each graph."""
    found: dict[str, list[fx.Node]] = {}
    for entry in entries:
        for node in entry.gm.graph.nodes:
            if node.op == "get_attr" and node.users:
                name = source.weights.aliases.get(str(node.target), str(node.target))
                if name in weights.packed:
                    found.setdefault(name, []).append(node)
    return found


def _checked(
    weights: ImportedWeights, name: str, leaves: list[fx.Node], wanted: Wanted | None, grids: dict[str, Held]
) -> Imported:
    """Whether a weight can stay on its grid wherever it is read, or why not; if so its types go to `grids`."""
    try:
        held = weights.held(name)
        rounding = held.rounding(name)
    except UsageError as error:
        return _again(weights, name, str(error))
    problem = next(filter(None, (_problem(leaf, held, wanted) for leaf in leaves)), "")
    if problem:
        return _again(weights, name, problem)
    if rounding > COARSE:
        return _again(weights, name, f"fp16 changes its scales by {rounding:.1%}")
    grids[name] = held.typed()
    how = ROUNDED if rounding or held.fmt.kind == NEAR else KEPT
    return Imported(name, weights.packed[name].source, how, str(held.fmt), rounding)


def _again(weights: ImportedWeights, name: str, why: str) -> Imported:
    """Eight bits for what has more than four, so that little is lost; else as --bits says."""
    packed = weights.packed[name]
    many = 8 * packed.nbytes / (packed.shape[0] * packed.shape[1]) > FEW_BITS
    return Imported(name, packed.source, AGAIN, WIDE if many else "", reason=why)


def _problem(leaf: fx.Node, held: Held, wanted: Wanted | None) -> str:
    """Why a graph's use of a weight cannot take its codes; "" where it can."""
    for user, through in _readers(leaf):
        if op(user) not in ("aten.linear", "aten.embedding") or arguments(user)["weight"] is not through:
            return f"{op(user) or user.op} computes with it"
        if (held.order is not None or held.bias is not None) and (through is not leaf or op(user) != "aten.linear"):
            return f"its columns were ordered, and {op(through) if through is not leaf else op(user)} reads it"
        if held.fmt.float_only and op(user) == "aten.embedding":
            return f"no embedding is stored as {held.fmt}"
        asked = wanted(user) if wanted is not None else ""
        if asked and asked != str(held.fmt):
            return f"--bits asks for {asked}, its codes are {held.fmt}"
    return ""


def _readers(node: fx.Node) -> list[tuple[fx.Node, fx.Node]]:
    """(what reads a weight, as which expression), past slices and joins of its rows."""
    found = []
    for user in node.users:
        rows = op(user) in ("aten.slice", "aten.cat") and arguments(user)["dim"] == 0
        found += _readers(user) if rows else [(user, node)]
    return found


def _put(leaf: fx.Node, name: str, held: Held) -> None:
    """`edgeq.grid` over tables that are read from the checkpoint when they are packed, in place of the weight."""
    graph = leaf.graph
    first = next(node for node in graph.nodes if node.op == "call_function")
    tables = {"codes": held.codes, "scale": held.scale, "zero": held.zero}
    with graph.inserting_before(first):
        nodes = [None if like is None else _table(leaf, name, table, like) for table, like in tables.items()]
        order = None if held.order is None else _table(leaf, name, "order", held.order.to(torch.int32))
        bias = None if held.bias is None else _table(leaf, name, "bias", held.bias)
        grid = insert(graph, "edgeq.grid", *nodes, weight=str(held.fmt), like=leaf)
    linears = [user for user in leaf.users if op(user) == "aten.linear"]
    leaf.replace_all_uses_with(grid)
    for linear in linears:
        if order is not None:
            _reorder(linear, order)
        if bias is not None:
            _add_bias(linear, bias)


def _table(leaf: fx.Node, name: str, table: str, like: Tensor) -> fx.Node:
    """A tensor that the checkpoint gives by name: nothing is held in memory."""
    from edgeq.frontend.export import set_tensor

    graph, target = leaf.graph, table_name(name, table)
    root = graph.owning_module
    assert root is not None
    set_tensor(root, target, torch.empty_like(like, device="meta"))
    node = graph.create_node("get_attr", target, name=target.replace(".", "_"))
    node.meta.update(val=value(leaf).new_empty(tuple(like.shape), dtype=like.dtype), hf="")
    node.meta[SOURCES] = {name: value(leaf).dim()}
    if table == "order":
        node.meta[DIGEST] = hash(like.numpy().tobytes())
    return node


def _reorder(linear: fx.Node, order: fx.Node) -> None:
    """Let a linear read its channels in the order of its columns; linears of one order share the channels."""
    x = arguments(linear)["input"]
    read = [user for user in x.users if op(user) == "edgeq.columns"]
    same = next((user for user in read if arguments(user)["index"].meta.get(DIGEST) == order.meta[DIGEST]), None)
    if same is None:
        with linear.graph.inserting_before(linear):
            same = insert(linear.graph, "edgeq.columns", x, order, like=linear)
    replace_argument(linear, "input", same)


def _add_bias(linear: fx.Node, bias: fx.Node) -> None:
    own = arguments(linear)["bias"]
    if own is not None:
        with linear.graph.inserting_before(linear):
            bias = insert(linear.graph, "aten.add.Tensor", own, bias, like=linear)
    replace_argument(linear, "bias", bias)


def _refusal(source: Source, lost: list[Imported], most: int = 4) -> str:
    reasons: dict[str, list[str]] = {}
    for record in lost:
        reasons.setdefault(f"{record.source}: {record.reason}", []).append(record.name)
    lines = [f"  {len(names)} weights ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''}), {why}"
             for why, names in list(reasons.items())[:most]]  # fmt: skip
    return (
        f"{source.name} is quantized already, and not all of its codes can be kept:\n" + "\n".join(lines)
        + "\n--requantize quantizes these again; without --bits (or with --bits keepa8) codes keep their own formats"
    )
