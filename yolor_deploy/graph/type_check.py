"""Whether every operator of a model takes and gives one type, as its schema demands.

Runtimes differ in how much of this they check: ONNX Runtime inserts casts where it can, TensorRT
refuses the file. So it is checked here, edge by edge, functions included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
import onnx_ir as ir

from yolor_deploy.core.errors import PassError

_TYPE_NAMES = {dtype: f"tensor({dtype.name.lower()})" for dtype in ir.DataType}  # as schemas say
_TYPES = {name: dtype for dtype, name in _TYPE_NAMES.items()}
_INTEGER_CONSTANTS = ("value_int", "value_ints")
Types = dict[ir.Value, ir.DataType]


def require_typed(model: ir.Model) -> int:
    """Check that no operator of a model mixes types, and that declared types are those computed.

    Args:
        model: Unchanged.

    Returns:
        The number of operators checked, those inside functions included.

    Raises:
        PassError: An operator mixes types, takes one that its schema does not allow, is unknown,
            reads what no operator gives before it, or gives another type than is declared. The
            operator is named.
    """
    types: Types = {}
    for value in model.graph.inputs:
        types[value] = _declared(value)
    for value in model.graph.initializers.values():
        assert value.const_value is not None
        types[value] = value.const_value.dtype
    checked = _check_nodes(model.graph, types, model)
    for value in model.graph.outputs:
        if value not in types:
            raise PassError(
                "no operator gives this output", where=str(value.name), hint="export it again"
            )
    return checked


def _check_nodes(container: ir.Graph | ir.Function, types: Types, model: ir.Model) -> int:
    opsets = container.opset_imports
    checked = 0
    for node in container:
        function = model.functions.get(node.op_identifier())
        if function is not None:
            checked += _check_function(function, node, types, model)
        else:
            _check_node(node, types, opsets)
        for value in node.outputs:
            if value.type is not None and isinstance(container, ir.Graph):
                _require_declared(node, value, types)
        checked += 1
    return checked


def _check_function(function: ir.Function, node: ir.Node, types: Types, model: ir.Model) -> int:
    inner: Types = {}
    for parameter, value in zip(function.inputs, node.inputs, strict=True):
        assert value is not None
        inner[parameter] = types[value]
    checked = _check_nodes(function, inner, model)
    for value, result in zip(node.outputs, function.outputs, strict=True):
        types[value] = inner[result]
    return checked


def _check_node(node: ir.Node, types: Types, opsets: Mapping[str, int]) -> None:
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[node.domain], node.domain)
    except (onnx.defs.SchemaError, KeyError) as error:
        raise _mixed(node, f"{node.domain or 'ai.onnx'} has no operator {node.op_type}") from error
    allowed = {item.type_param_str: item.allowed_type_strs for item in schema.type_constraints}
    bound: dict[str, ir.DataType] = {}
    for position, value in enumerate(node.inputs):
        if value is None:
            continue
        if value not in types:
            raise _mixed(node, f"no operator before it gives {value.name}")
        parameter = schema.inputs[min(position, len(schema.inputs) - 1)]
        _bind(node, parameter, str(value.name), types[value], bound, allowed)
    for position, value in enumerate(node.outputs):
        parameter = schema.outputs[min(position, len(schema.outputs) - 1)]
        found = _output_type(node, parameter.type_str, bound, allowed)
        _bind(node, parameter, str(value.name), found, bound, allowed)
        types[value] = found


def _bind(
    node: ir.Node,
    parameter: onnx.defs.OpSchema.FormalParameter,
    value: str,
    found: ir.DataType,
    bound: dict[str, ir.DataType],
    allowed: Mapping[str, Sequence[str]],
) -> None:
    kind = parameter.type_str
    if kind not in allowed:  # one fixed type, such as tensor(int64)
        if _TYPE_NAMES[found] != kind:
            raise _mixed(node, f"{value} is {found.name}, expected {kind}")
        return
    is_free = parameter.option == onnx.defs.OpSchema.FormalParameterOption.Variadic
    if _TYPE_NAMES[found] not in allowed[kind]:
        raise _mixed(node, f"{value} is {found.name}, which {node.op_type} does not take")
    if is_free and not parameter.is_homogeneous:
        return
    if bound.setdefault(kind, found) != found:
        raise _mixed(node, f"{value} is {found.name} beside {bound[kind].name}")


def _output_type(
    node: ir.Node,
    kind: str,
    bound: Mapping[str, ir.DataType],
    allowed: Mapping[str, Sequence[str]],
) -> ir.DataType:
    if node.op_type == "Cast":
        return ir.DataType(node.attributes["to"].as_int())
    if node.op_type == "Constant":
        return _constant_type(node)
    if node.op_type == "ConstantOfShape":
        value = node.attributes.get("value")
        return value.as_tensor().dtype if value is not None else ir.DataType.FLOAT
    if kind in bound:
        return bound[kind]
    choices = allowed.get(kind, [kind])
    if len(choices) > 1:
        raise _mixed(node, f"nothing tells which of {', '.join(choices)} it gives")
    return _TYPES[choices[0]]


def _constant_type(node: ir.Node) -> ir.DataType:
    (attribute,) = node.attributes.values()
    if attribute.name == "value":
        return attribute.as_tensor().dtype
    return ir.DataType.INT64 if attribute.name in _INTEGER_CONSTANTS else ir.DataType.FLOAT


def _require_declared(node: ir.Node, value: ir.Value, types: Types) -> None:
    assert value.type is not None
    declared, found = value.type.dtype, types[value]
    if declared != found:
        raise _mixed(node, f"{value.name} is declared {declared.name}, computed {found.name}")


def _declared(value: ir.Value) -> ir.DataType:
    if value.type is None:
        raise PassError("input has no type", where=str(value.name), hint="export the model again")
    return value.type.dtype


def _mixed(node: ir.Node, problem: str) -> PassError:
    return PassError(
        problem,
        where=f"{node.op_type} {node.name}",
        hint="report this model: a precision pass left a graph that is not well typed",
    )
