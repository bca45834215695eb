"""A `return` at top level: the code becomes the body of a function whose names stay those of the module.

Only code that has one imports this.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Sequence

_FRAME = "def __portcall_body__(): return False, None"
"""Answers whether the code stopped early, and what it returned, boxed; None: nothing."""

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def compiled(source: str, name: str) -> types.CodeType:
    """The module that defines `__portcall_body__`, with the lines of the source."""
    tree = ast.parse(source, name)
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    body = [_OwnScope().visit(node) for node in tree.body if node not in future]
    bound = sorted(bound_names(body))
    function = ast.parse(_FRAME).body[0]
    if isinstance(function, ast.FunctionDef):
        # Global, so that the functions of the code see what its body sets.
        function.body[:0] = [*([ast.Global(names=bound)] if bound else []), *body]
    tree.body = [*future, function]
    return compile(ast.fix_missing_locations(tree), name, "exec", dont_inherit=True)


class _OwnScope(ast.NodeTransformer):
    """Changes that a function needs: how it returns, and global names that have no annotation."""

    def visit_Return(self, node: ast.Return) -> ast.stmt:
        boxed: ast.expr = ast.Constant(value=None)
        if node.value is not None:
            boxed = ast.Tuple(elts=[node.value], ctx=ast.Load())
        value = ast.Tuple(elts=[ast.Constant(value=True), boxed], ctx=ast.Load())
        return ast.copy_location(ast.Return(value=value), node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)

    def visit_Global(self, node: ast.Global) -> ast.stmt:
        return ast.copy_location(ast.Pass(), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.stmt:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        return node


def bound_names(body: Sequence[ast.AST]) -> set[str]:
    """What the statements bind in their own scope, not in those of functions and classes inside."""
    bound: set[str] = set()
    for statement in body:
        _visit(statement, bound, comprehension=False)
    return bound - {"*"}


def _visit(node: ast.AST, bound: set[str], *, comprehension: bool) -> None:
    bound.update(_binds(node, comprehension=comprehension))
    inside = comprehension or isinstance(node, _COMPREHENSIONS)
    for child in _same_scope(node):
        _visit(child, bound, comprehension=inside)


def _binds(node: ast.AST, *, comprehension: bool) -> tuple[str, ...]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return (name,)
        case ast.NamedExpr(target=ast.Name(id=name)):
            return (name,)
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return () if comprehension else (name,)
        case ast.alias(name=name, asname=asname):
            return (asname or name.partition(".")[0],)
        case (
            ast.ExceptHandler(name=str(name))
            | ast.MatchAs(name=str(name))
            | ast.MatchStar(name=str(name))
            | ast.MatchMapping(rest=str(name))
        ):
            return (name,)
        case _:
            return ()


def _same_scope(node: ast.AST) -> list[ast.AST]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return list(node.decorator_list)
        case ast.Lambda():
            return []
    return list(ast.iter_child_nodes(node))
