"""Small faults that are put into source code, one at a time, to see whether a test notices."""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Mutant", "mutants", "mutated"]

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.MatMult: ast.Mult,
}  # fmt: skip
_SILENT = ("logger", "_log", "warnings")


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        file: path of the source below the repository.
        line: where.
        index: number of the node in the order of :func:`ast.walk` over the whole file.
        choice: which of the changes of that node.
        what: for people.
    """

    file: str
    line: int
    index: int
    choice: int
    what: str


def mutants(file: str, source: str) -> list[Mutant]:
    """All faults of a file, in the order of its nodes."""
    tree = ast.parse(source)
    left_out = set(map(id, _left_out(tree)))
    found = []
    for index, node in enumerate(ast.walk(tree)):
        if id(node) not in left_out:
            for choice, (changed, what) in enumerate(_changes(node)):
                del changed
                found.append(Mutant(file, getattr(node, "lineno", 0), index, choice, what))
    return found


def mutated(source: str, mutant: Mutant) -> ast.Module:
    """The tree with the fault in it."""
    tree = ast.parse(source)
    node = next(n for i, n in enumerate(ast.walk(tree)) if i == mutant.index)
    changed = list(_changes(node))[mutant.choice][0]
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is node:
                setattr(parent, name, changed)
            elif isinstance(value, list):
                value[:] = [changed if item is node else item for item in value]
    return ast.fix_missing_locations(tree)


def _left_out(tree: ast.Module) -> Iterator[ast.AST]:
    """What changes no behaviour that is promised: documentation, types, the wording of errors, imports, logging."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            for part in _around(node):
                yield from ast.walk(part)
        elif isinstance(node, ast.AnnAssign):
            yield from ast.walk(node.annotation)
        elif isinstance(node, ast.Raise) and node.exc is not None:
            yield from ast.walk(node.exc)  # that it is raised is tested by removing the statement
        elif isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom) or _is_quiet(node):
            yield from ast.walk(node)


def _around(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> Iterator[ast.AST]:
    """Docstring, decorators, and the types of arguments and result."""
    if ast.get_docstring(node) is not None:
        yield node.body[0]
    if not isinstance(node, ast.Module):
        yield from node.decorator_list
    if isinstance(node, ast.FunctionDef):
        yield from (a.annotation for a in ast.walk(node.args) if isinstance(a, ast.arg) and a.annotation)
        if node.returns is not None:
            yield node.returns


def _is_quiet(node: ast.AST) -> bool:
    """A statement that computes nothing."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant | ast.Call):
        return _is_silent(node.value)
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.Assign | ast.AugAssign) and "__all__" in ast.unparse(node)


def _is_silent(value: ast.expr) -> bool:
    if isinstance(value, ast.Constant):
        return True  # a text after a constant, for the documentation
    name = value.func if isinstance(value, ast.Call) else None
    return isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name) and name.value.id in _SILENT


def _changes(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Replacements of one node."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            changed = copy.deepcopy(node)
            changed.ops[place] = _COMPARISONS[type(operator)]()
            yield changed, f"{ast.unparse(node)} -> {ast.unparse(changed)}"
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _OPERATORS:
        changed = copy.deepcopy(node)
        changed.op = _OPERATORS[type(node.op)]()
        yield changed, f"{ast.unparse(node)} -> {ast.unparse(changed)}"
    elif isinstance(node, ast.BoolOp):
        changed = copy.deepcopy(node)
        changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield changed, f"{ast.unparse(node)} -> {ast.unparse(changed)}"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield copy.deepcopy(node.operand), f"{ast.unparse(node)} -> {ast.unparse(node.operand)}"
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        changed = copy.deepcopy(node)
        changed.test = ast.UnaryOp(ast.Not(), changed.test)
        yield changed, f"condition {ast.unparse(node.test)} turned around"
    elif isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield ast.Return(ast.Constant(None)), f"{ast.unparse(node)} -> return None"
    elif isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass(), f"{ast.unparse(node)[:80]} removed"


def _constants(node: ast.Constant) -> Iterator[tuple[ast.AST, str]]:
    value: object = node.value
    if isinstance(value, bool):
        other: object = not value
    elif isinstance(value, int | float):
        other = value + 1
    elif isinstance(value, str):
        other = value + "X"
    else:
        return
    yield ast.Constant(other), f"{value!r} -> {other!r}"
