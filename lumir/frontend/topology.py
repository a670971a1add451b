"""The shape of an ONNX graph: every value is produced once, and before it is used."""

from collections.abc import Iterable, Sequence

import onnx

from lumir.diagnostics import UserError


def node_name(node: onnx.NodeProto, index: int) -> str:
    """The node's name, or `<OpType>_<index>` for one without."""
    return node.name or f"{node.op_type}_{index}"


def check_topology(graph: onnx.GraphProto, outer: frozenset[str] = frozenset()) -> None:
    """Check names and order of a graph and its subgraphs.

    Args:
        outer: the values that enclosing graphs offer.

    Raises:
        UserError: a value is produced twice, is used before it is produced or never produced, or nodes form a cycle.
    """
    inputs = [item.name for item in graph.input]
    weights = [item.name for item in graph.initializer] + [item.values.name for item in graph.sparse_initializer]
    _check_distinct(inputs, "graph input")
    _check_distinct(weights, "initializer")
    known = check_nodes(graph.node, {*outer, *inputs, *weights}, set(inputs) | set(weights))
    for output in graph.output:
        if output.name not in known:
            raise UserError(
                f"graph output '{output.name}' is not produced by any node",
                code="value-missing",
                hint="the graph is incomplete: export the model again",
            )


def check_nodes(nodes: Sequence[onnx.NodeProto], known: set[str], own: set[str]) -> set[str]:
    """Check a list of nodes.

    Args:
        known: the values available before the first node.
        own: those of them that belong to this graph, which no node may produce again.

    Returns:
        the values available after the last node.
    """
    producers: dict[str, str] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in own or name in producers:
                _raise_duplicate(name, producers.get(name), node_name(node, index))
            producers[name] = node_name(node, index)
    known = set(known)
    for index, node in enumerate(nodes):
        for name in node.input:
            if name and name not in known:
                _raise_unordered(nodes, index, name, producers)
        for subgraph in _subgraphs(node):
            check_topology(subgraph, frozenset(known))
        known.update(filter(None, node.output))
    return known


def _subgraphs(node: onnx.NodeProto) -> Iterable[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _check_distinct(names: Sequence[str], what: str) -> None:
    if len(set(names)) == len(names):
        return
    name = next(name for name in names if names.count(name) > 1)
    raise UserError(
        f"{what} '{name}' is declared twice", code="value-duplicate", hint="names must be unique in a graph"
    )


def _raise_duplicate(name: str, first: str | None, second: str) -> None:
    raise UserError(
        f"value '{name}' is produced twice",
        code="value-duplicate",
        node=second,
        values={"first producer": first or "an input or initializer of the graph", "second producer": second},
        hint="ONNX graphs are in single-assignment form: rename one of the two",
    )


def _raise_unordered(nodes: Sequence[onnx.NodeProto], index: int, name: str, producers: dict[str, str]) -> None:
    user = node_name(nodes[index], index)
    if name not in producers:
        raise UserError(
            f"value '{name}' is used and never produced",
            code="value-missing",
            node=user,
            hint="the graph is incomplete: export the model again",
        )
    cycle = find_cycle(nodes)
    if cycle:
        raise UserError(
            "the graph has a cycle",
            code="graph-cyclic",
            node=user,
            values={"cycle": " -> ".join([*cycle, cycle[0]])},
            hint="ONNX graphs are acyclic; recurrences need a Loop or Scan node",
        )
    raise UserError(
        f"value '{name}' is used before it is produced",
        code="graph-unordered",
        node=user,
        values={"used by": user, "produced by": producers[name]},
        hint="ONNX demands that nodes are listed in topological order: sort the nodes of the graph",
    )


def find_cycle(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """The names of nodes that form a cycle, in order of data flow; empty when there is none."""
    producer = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    sources = [[producer[name] for name in node.input if name in producer] for node in nodes]
    state = [0] * len(nodes)
    for root in range(len(nodes)):
        path, stack = [], [(root, False)]
        while stack:
            index, leave = stack.pop()
            if leave:
                state[index] = 2
                path.pop()
            elif state[index] == 1:
                cycle = path[path.index(index) :]
                return [node_name(nodes[i], i) for i in reversed(cycle)]
            elif state[index] == 0:
                state[index] = 1
                path.append(index)
                stack.append((index, True))
                stack.extend((source, False) for source in sources[index])
    return []
