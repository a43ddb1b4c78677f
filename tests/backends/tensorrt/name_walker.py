"""Finds the names of TensorRT that code uses, without running it.

In our files everything of TensorRT is ``Any``. So each parameter, field and function that is
annotated with ``Any`` must be in a table (``name_tables``) that says what it is, and the rest
follows: what is assigned, called, looped over. A path is what comes after the module, such as
``Builder.create_network``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.backends.tensorrt.name_tables import MODULE, PLAIN, Tables


@dataclass(frozen=True, slots=True)
class Use:
    """One name of TensorRT at one place.

    Attributes:
        path: What is used, such as ``BuilderFlag.TF32``.
        where: File and line.
        function: In which function of which file.
        is_asked: Whether its absence does no harm: ``hasattr``, or ``getattr`` with a default.
        is_set: Whether it is assigned to.
        keywords: Arguments given by name where it is called.
    """

    path: str
    where: str
    function: str
    is_asked: bool = False
    is_set: bool = False
    keywords: tuple[str, ...] = ()


@dataclass(slots=True)
class Found:
    """What a walk finds.

    Attributes:
        uses: Names of TensorRT.
        loose: Attributes of values that are thought to be nothing of TensorRT, and where.
        unknown: What is missing in a table.
    """

    uses: list[Use] = field(default_factory=list)
    loose: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Value:
    """What an expression holds.

    Attributes:
        kind: Reached from the module by names; an object of a class; a member of such an object;
            a result that no table knows; a sequence of objects.
        path: Of itself, or of its class where it is an object or a sequence.
    """

    kind: Literal["name", "object", "member", "result", "sequence"]
    path: str


@dataclass(frozen=True, slots=True)
class _Scope:
    function: str = "module"
    owner: str = ""  # the class whose ``self`` it has
    values: dict[str, _Value | None] = field(default_factory=dict)
    strings: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def inner(self, function: str, owner: str) -> _Scope:
        return _Scope(function, owner, dict(self.values), dict(self.strings))


_Fields = dict[tuple[str, str], _Value]
"""By class and name; the class is empty for public ones, which are also read from outside."""


def walk(sources: Mapping[str, str], tables: Tables) -> Found:
    """Walk files, of which each may use what another keeps in a field.

    Args:
        sources: Source text by the name of the file.
        tables: What cannot be seen in it.
    """
    fields: _Fields = {}
    found = Found()
    for _ in range(2):  # the second time all fields are known
        found = Found()
        for name, text in sources.items():
            _Walker(name, tables, fields, found).visit(ast.parse(text))
    return found


class _Walker(ast.NodeVisitor):
    """Visits one file; visiting an expression returns its value, None for a plain one."""

    def __init__(self, file: str, tables: Tables, fields: _Fields, found: Found) -> None:
        self.file = file
        self.tables = tables
        self.fields = fields
        self.found = found
        self.scope = _Scope()

    def _where(self, node: ast.expr | ast.stmt | ast.arg) -> str:
        return f"{self.file}:{node.lineno}"

    def _use(self, node: ast.expr | ast.stmt, path: str) -> None:
        function = f"{self.file}:{self.scope.function}"
        self.found.uses.append(Use(path, self._where(node), function))

    def _told(self, told: str) -> _Value | None:
        if told == PLAIN:
            return None
        if told == MODULE:
            return _Value("name", "")
        return _Value("member" if "." in told else "object", told)

    def _annotated(self, node: ast.stmt | ast.arg, name: str) -> _Value | None:
        if name not in self.tables.variables:
            self.found.unknown.append(f"{self._where(node)}: {name}: what is it? (variables)")
            return None
        return self._told(self.tables.variables[name])

    def _result(self, path: str) -> _Value:
        """Return what calling or reading a path gives, known or not."""
        told = self.tables.returns.get(path)
        return _Value("result", path) if not told else _Value("object", told)

    def _member(self, node: ast.expr, value: _Value | None, name: str) -> _Value | None:
        """Return an attribute of a value, and note its use."""
        if value is None or value.kind == "sequence":
            return None
        if value.kind in {"member", "result"}:
            if self.tables.returns.get(value.path) == PLAIN:
                return None
            value = self._result(value.path)
        if value.kind == "result":
            self.found.unknown.append(
                f"{self._where(node)}: {ast.unparse(node)}: what is {value.path}? (returns)"
            )
            return None
        path = f"{value.path}.{name}" if value.path else name
        self._use(node, path)
        return _Value("name" if value.kind == "name" else "member", path)

    def visit_Name(self, node: ast.Name) -> _Value | None:
        return self.scope.values.get(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> _Value | None:
        value = self.visit(node.value)
        if value is None:
            is_self = isinstance(node.value, ast.Name) and node.value.id == "self"
            owner = self.scope.owner if is_self else ""
            if (owner, node.attr) in self.fields:
                return self.fields[owner, node.attr]
            self.found.loose.append((node.attr, self._where(node)))
        member = self._member(node, value, node.attr)
        if member is not None and isinstance(node.ctx, ast.Store):
            self.found.uses[-1] = replace(self.found.uses[-1], is_set=True)
        return member

    def _keep(self, name: str, value: _Value) -> None:
        """Keep what a field holds."""
        self.fields[self.scope.owner, name] = value
        if not name.startswith("_"):
            self.fields["", name] = value

    def _bind(self, target: ast.expr, value: _Value | None) -> None:
        match target:
            case ast.Name():
                self.scope.values[target.id] = value
                self.scope.strings.pop(target.id, None)
            case ast.Attribute(value=ast.Name(id="self")) if value is not None:
                self._keep(target.attr, value)
            case ast.Tuple() | ast.List():
                for part in target.elts:
                    self._bind(part, None)
            case _:
                self.visit(target)

    def visit_Assign(self, node: ast.Assign) -> None:
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                found = [self.visit(value) for value in values]
                for target, value in zip(targets, found, strict=False):
                    self._bind(target, value)
                return
        value = self.visit(node.value)
        strings = self._strings(node.value)
        for target in node.targets:
            self._bind(target, value)
            if isinstance(target, ast.Name) and strings:
                self.scope.strings[target.id] = strings

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        value = self.visit(node.value) if node.value else None
        name = ast.unparse(node.target).removeprefix("self.")
        if value is None and _is_any(node.annotation):
            value = self._annotated(node, name)
        self._bind(node.target, value)
        if value is not None and self.scope.function.startswith("class "):
            self._keep(name, value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> _Value | None:
        value: _Value | None = self.visit(node.value)
        self._bind(node.target, value)
        return value

    def visit_withitem(self, node: ast.withitem) -> None:
        value = self.visit(node.context_expr)
        if node.optional_vars is not None:
            self._bind(node.optional_vars, value)

    def _element(self, value: _Value | None) -> _Value | None:
        if value is None:
            return None
        if value.kind == "sequence":
            return _Value("object", value.path)
        return self._result(f"{value.path}[]")

    def _loop(self, target: ast.expr, iterable: ast.expr) -> None:
        match iterable, target:
            case ast.Call(func=ast.Name(id="enumerate"), args=[inner, *_]), ast.Tuple(elts=[_, t]):
                self._loop(t, inner)
            case ast.Call(func=ast.Name(id="zip"), args=inners), ast.Tuple(elts=targets):
                for one, inner in zip(targets, inners, strict=False):
                    self._loop(one, inner)
            case _:
                self._bind(target, self._element(self.visit(iterable)))
                strings = self._strings(iterable)
                if isinstance(target, ast.Name) and strings:
                    self.scope.strings[target.id] = strings

    def visit_For(self, node: ast.For) -> None:
        self._loop(node.target, node.iter)
        for statement in (*node.body, *node.orelse):
            self.visit(statement)

    def _generators(self, generators: list[ast.comprehension]) -> None:
        for part in generators:
            self._loop(part.target, part.iter)
            for condition in part.ifs:
                self.visit(condition)

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> _Value | None:
        with self._inner():
            self._generators(node.generators)
            value = self.visit(node.elt)
        return _Value("sequence", value.path) if value and value.kind == "object" else None

    def visit_ListComp(self, node: ast.ListComp) -> _Value | None:
        return self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> _Value | None:
        return self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> _Value | None:
        return self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        with self._inner():
            self._generators(node.generators)
            self.visit(node.key)
            self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> _Value | None:
        self.visit(node.slice)
        return self._element(self.visit(node.value))

    def visit_IfExp(self, node: ast.IfExp) -> _Value | None:
        self.visit(node.test)
        values = [self.visit(node.body), self.visit(node.orelse)]
        return next((value for value in values if value is not None), None)

    def visit_BoolOp(self, node: ast.BoolOp) -> _Value | None:
        values = [self.visit(value) for value in node.values]
        return next((value for value in values if value is not None), None)

    def visit_Call(self, node: ast.Call) -> _Value | None:
        if isinstance(node.func, ast.Name) and node.func.id in {"hasattr", "getattr"}:
            return self._attribute_by_text(node)
        value = self.visit(node.func)
        arguments = [self.visit(argument) for argument in node.args]
        for keyword in node.keywords:
            self.visit(keyword.value)
        if value is not None:
            return self._called(node, value)
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in {"list", "tuple", "sorted", "reversed"} and arguments:
            return arguments[0]  # type: ignore[no-any-return]
        return self._told(self.tables.functions.get(name, PLAIN))

    def _called(self, node: ast.Call, value: _Value) -> _Value:
        keywords = tuple(keyword.arg for keyword in node.keywords if keyword.arg)
        uses = [index for index, use in enumerate(self.found.uses) if use.path == value.path]
        if keywords and uses:
            self.found.uses[uses[-1]] = replace(self.found.uses[uses[-1]], keywords=keywords)
        name = value.path.rpartition(".")[2]
        is_class = value.kind == "name" and name[:1].isupper() and not name.isupper()
        if is_class and value.path not in self.tables.returns:
            return _Value("object", value.path)
        return self._result(value.path)

    def _attribute_by_text(self, node: ast.Call) -> _Value | None:
        """Note what ``hasattr`` and ``getattr`` are asked for."""
        value = self.visit(node.args[0])
        for argument in node.args[1:]:
            self.visit(argument)
        if value is None:
            return None
        names = self._strings(node.args[1]) or self.tables.dynamic.get(ast.unparse(node))
        if names is None:
            text = ast.unparse(node)
            self.found.unknown.append(f"{self._where(node)}: {text}: for what? (dynamic)")
            return None
        is_asked = ast.unparse(node.func) == "hasattr" or len(node.args) > 2
        start = len(self.found.uses)
        members = [self._member(node, value, name) for name in names]
        noted = self.found.uses[start:]
        self.found.uses[start:] = [replace(use, is_asked=is_asked) for use in noted]
        return members[0] if ast.unparse(node.func) == "getattr" else None

    def _strings(self, node: ast.expr) -> tuple[str, ...] | None:
        """Return the texts that an expression, or what it is made of, can be."""
        match node:
            case ast.Constant(value=str(text)):
                return (text,)
            case ast.Name(id=name):
                return self.scope.strings.get(name)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                texts = [self._strings(part) for part in parts]
                return tuple(one for text in texts if text for one in text) if all(texts) else None
        return None

    @contextmanager
    def _inner(self, function: str | None = None, owner: str | None = None) -> Iterator[None]:
        outer = self.scope
        self.scope = outer.inner(function or outer.function, owner or outer.owner)
        try:
            yield
        finally:
            self.scope = outer

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        is_any = node.returns is not None and _is_any(node.returns)
        if is_any and node.name not in self.tables.functions:
            where = self._where(node)
            self.found.unknown.append(f"{where}: {node.name}: gives what? (functions)")
        self.scope.values[node.name] = None
        with self._inner(node.name):
            self._parameters(node.args)
            for statement in node.body:
                self.visit(statement)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        with self._inner():
            self._parameters(node.args)
            self.visit(node.body)

    def _parameters(self, arguments: ast.arguments) -> None:
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                self.visit(default)
        packed = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
        for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *packed):
            is_any = one.annotation is not None and _is_any(one.annotation)
            self.scope.values[one.arg] = self._annotated(one, one.arg) if is_any else None
            self.scope.strings.pop(one.arg, None)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Visit a class; its public methods are called by TensorRT if its base is of TensorRT."""
        bases = [base for base in map(self.visit, node.bases) if base is not None]
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef) and not statement.name.startswith("_"):
                paths = [f"{base.path}.{statement.name}" for base in bases]
                for path in paths:
                    if path not in self.tables.own:
                        self._use(statement, path)
        with self._inner(f"class {node.name}", node.name):
            for statement in node.body:
                self.visit(statement)


def _is_any(annotation: ast.expr) -> bool:
    """Return whether ``Any`` is anywhere in an annotation."""
    return any(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(annotation))
