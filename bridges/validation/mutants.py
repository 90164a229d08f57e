"""Mutants of the formula files: every arithmetic operator and every number, changed one at a time.

Which kind a mutant is follows from where it stands, by rule: a **setting** of the arithmetic is a number of
``theory/numerics.py``, the default of a parameter or the value of a class attribute; everything else is **formula**. A
mutant that provably computes the same is **equivalent**, by an entry of :mod:`.explained_mutants`.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Literal

import numpy as np

from overopt.bridges.validation.explained_mutants import EXPLAINED, Explained
from overopt.theory.errors import InputError

__all__ = [
    "KINDS",
    "SETTINGS_MODULE",
    "Kind",
    "Mutant",
    "compiled",
    "formula_modules",
    "mutants",
    "stratified",
    "theory_folder",
    "unmatched",
]

Kind = Literal["formula", "setting", "equivalent"]
KINDS: tuple[Kind, ...] = ("formula", "setting", "equivalent")
SETTINGS_MODULE = "numerics"

_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip
_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.MatMult: "@", ast.FloorDiv: "//",
          ast.Mod: "%"}  # fmt: skip
_NOT_FORMULAS = {"__init__", "errors"}


@dataclass(frozen=True)
class Mutant:
    """One change to one formula file."""

    module: str
    line: int
    text: str
    """The line as it stands, without indentation."""
    change: str
    kind: Kind
    reason: str
    """Why nothing should, or did, notice it; empty where nobody has explained it."""
    node: int
    """Position of the changed node in ``ast.walk`` order."""
    function: tuple[int, int]
    """First and last line of the innermost function around it; the whole file for a constant outside of any."""


def theory_folder() -> Path:
    """Where the formula files are."""
    spec = importlib.util.find_spec("overopt.theory")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def formula_modules() -> tuple[str, ...]:
    """Names of the formula files of ``overopt.theory``, the settings of their arithmetic among them."""
    return tuple(sorted(path.stem for path in theory_folder().glob("*.py") if path.stem not in _NOT_FORMULAS))


@cache
def _source(module: str) -> str:
    """The file as the study first saw it: an edit in the middle would otherwise move the nodes."""
    return (theory_folder() / f"{module}.py").read_text(encoding="utf-8")


def mutants(module: str) -> list[Mutant]:
    """Every arithmetic operator and every number of a formula file, changed once.

    Left alone: annotations, strings, and what stands in a ``raise``.
    """
    if not (theory_folder() / f"{module}.py").is_file():
        raise InputError(f"`module` must be one of {', '.join(formula_modules())}, got '{module}'.")
    tree, lines = ast.parse(_source(module)), _source(module).splitlines()
    spared, defaults = _parts(tree, _spared), _parts(tree, _defaults)
    functions = [
        (min([node.lineno, *(d.lineno for d in node.decorator_list)]), node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    ]
    found: list[Mutant] = []
    for position, node in enumerate(ast.walk(tree)):
        change = _change(node)
        if change is None or id(node) in spared:
            continue
        line = int(getattr(node, "lineno", 0))
        text = lines[line - 1].strip()
        around = [span for span in functions if span[0] <= line <= span[1]]
        function = min(around, key=lambda span: span[1] - span[0]) if around else (1, len(lines))
        entry = _explanation(module, text, change, sum(m.line == line and m.change == change for m in found))
        kind: Kind = "setting" if module == SETTINGS_MODULE or id(node) in defaults else "formula"
        if entry is not None and entry.equivalent:
            kind = "equivalent"
        found.append(Mutant(module, line, text, change, kind, entry.reason if entry else "", position, function))
    return found


def _explanation(module: str, text: str, change: str, ordinal: int) -> Explained | None:
    for entry in EXPLAINED:
        if (entry.module, entry.line, entry.change) == (module, text, change) and entry.ordinal in (None, ordinal):
            return entry
    return None


def unmatched() -> list[Explained]:
    """Explanations whose line, or whose change on it, is gone from the formula files."""
    everything = {(m.module, m.text, m.change) for module in formula_modules() for m in mutants(module)}
    return [entry for entry in EXPLAINED if (entry.module, entry.line, entry.change) not in everything]


def _parts(tree: ast.AST, of: object) -> set[int]:
    assert callable(of)
    return {id(inner) for node in ast.walk(tree) for part in of(node) for inner in ast.walk(part)}


def _spared(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Raise():
            yield node
        case ast.AnnAssign():
            yield node.annotation
        case ast.arg() if node.annotation is not None:
            yield node.annotation
        case ast.FunctionDef() if node.returns is not None:
            yield node.returns


def _defaults(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.arguments():
            yield from (default for default in (*node.defaults, *node.kw_defaults) if default is not None)
        case ast.ClassDef():
            for statement in node.body:
                if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                    yield statement.value


def _change(node: ast.AST) -> str | None:
    match node:
        case ast.BinOp() | ast.AugAssign() if type(node.op) in _OPERATORS:
            return f"{_SIGNS[type(node.op)]} becomes {_SIGNS[_OPERATORS[type(node.op)]]}"
        case ast.UnaryOp(op=ast.USub()):
            return "unary - dropped"
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return f"{value} becomes {_other(value)}"
    return None


def _other(value: float) -> float:
    return value + 1 if isinstance(value, int) or value == 0 else 1.5 * value


def compiled(mutant: Mutant) -> CodeType:
    """The formula file with the mutant's one change."""
    tree = ast.parse(_source(mutant.module))
    for position, node in enumerate(ast.walk(tree)):
        if position != mutant.node:
            continue
        match node:
            case ast.BinOp() | ast.AugAssign():
                node.op = _OPERATORS[type(node.op)]()
            case ast.UnaryOp():
                node.op = ast.UAdd()
            case ast.Constant(value=int() | float() as value):
                node.value = _other(value)
    return compile(tree, str(theory_folder() / f"{mutant.module}.py"), "exec")


def stratified(rng: np.random.Generator, groups: Sequence[Sequence[Mutant]]) -> list[Mutant]:
    """All mutants in an order of which every beginning is a random sample with each group in proportion to its size."""
    placed: list[tuple[float, Mutant]] = []
    for group in groups:
        start = rng.random()
        placed += [((start + place) / len(group), group[i]) for place, i in enumerate(rng.permutation(len(group)))]
    return [mutant for _, mutant in sorted(placed, key=lambda row: row[0])]
