"""A grid over the fields of a frozen dataclass: ``key=a,b,c`` in words, typed by the field, every mixture a cell."""

from __future__ import annotations

import itertools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal
from urllib.parse import quote

from overopt.theory.errors import InputError

__all__ = ["Cell", "Grid", "cells", "parse_grid", "settable_fields", "with_settings"]

Grid = dict[str, tuple[Any, ...]]
"""Dotted field name -> values."""

UNSETTABLE = ("name", "measures", "healthy", "cost")
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


@dataclass(frozen=True)
class Cell:
    """One point of the grid with one seed."""

    settings: Mapping[str, Any]
    seed: int

    @property
    def label(self) -> str:
        """The settings in words."""
        return ",".join(f"{name}={_text(value)}" for name, value in self.settings.items()) or "base"

    @property
    def folder(self) -> str:
        """Where its run lies below the sweep."""
        return f"{quote(self.label, safe='=,.+- ')}/seed-{self.seed}"


def _text(value: Any) -> str:
    return (
        "+".join(map(str, value)) if isinstance(value, tuple) else str(value).lower() if value is None else str(value)
    )


def settable_fields(base: Any) -> dict[str, Any]:
    """Dotted name -> type of every field of ``base`` and of the dataclasses in it that a word can set."""
    hints = typing.get_type_hints(type(base))
    found: dict[str, Any] = {}
    for field in fields(base):
        value = getattr(base, field.name)
        if is_dataclass(value):
            found |= {f"{field.name}.{inner}": hint for inner, hint in settable_fields(value).items()}
        elif field.name not in UNSETTABLE and _is_plain(hints[field.name]):
            found[field.name] = hints[field.name]
    return found


def _is_plain(hint: Any) -> bool:
    inner = typing.get_args(hint)
    if _is_union(hint):
        return all(kind is type(None) or _is_plain(kind) for kind in inner)
    if typing.get_origin(hint) is tuple:
        return len(inner) == 2 and inner[1] is Ellipsis and inner[0] in KINDS
    return hint in KINDS or typing.get_origin(hint) is Literal


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def parse_grid(base: Any, words: Sequence[str], aliases: Mapping[str, str] | None = None) -> Grid:
    """Every ``key=a,b,c`` of ``words`` as values of the field of ``base`` that the key names.

    A key is a dotted name (``ppo.steps``), the same with dashes (``ppo-steps``), a field's own name where only one has
    it (``clip``), or one of ``aliases``. Elements of a tuple are joined by ``+``.

    Raises
    ------
    InputError
        One line: no such key (with the closest one), a value of the wrong type, a key or a value given twice.
    """
    hints = settable_fields(base)
    grid: Grid = {}
    for word in words:
        key, equals, values = word.partition("=")
        if not (key and equals and all(values.split(","))):
            raise InputError(f"`--grid` must be KEY=VALUE,VALUE,..., got '{word}'.")
        name = _field_named(key, hints, aliases or {})
        if name in grid:
            raise InputError(f"`--grid` must name a field once, got '{name}' twice.")
        grid[name] = tuple(_value(name, hints[name], text) for text in values.split(","))
        if len(set(grid[name])) < len(grid[name]):
            raise InputError(f"`--grid {name}` must hold each value once, got '{values}'.")
    return grid


def _field_named(key: str, hints: Mapping[str, Any], aliases: Mapping[str, str]) -> str:
    plain = key.replace("-", "_")
    plain = aliases.get(plain, plain)
    leaves = [name for name in hints if name.rpartition(".")[2] == plain]
    joined = [name for name in hints if name.replace(".", "_") == plain]
    for matches in ([plain] if plain in hints else [], joined, leaves):
        if len(matches) == 1:
            return matches[0]
    if len(leaves) > 1:
        raise InputError(f"`--grid` key '{key}' is ambiguous; name one of {', '.join(leaves)}.")
    names = {**{name.rpartition(".")[2]: name for name in hints}, **{name: name for name in hints}}
    close = get_close_matches(plain, names, n=1)
    hint = f" Did you mean '{names[close[0]]}'?" if close else f" Keys: {', '.join(sorted(hints))}."
    raise InputError(f"`--grid` must name a number or word of the recipe, got '{key}'.{hint}")


def _value(name: str, hint: Any, text: str) -> Any:
    def wrong(kind: str) -> InputError:
        return InputError(f"`--grid {name}` must hold {kind}, got '{text}'.")

    if _is_union(hint):
        if text.lower() == "none":
            return None
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return _value(name, kinds[0], text)
    if typing.get_origin(hint) is tuple:
        return tuple(_value(name, typing.get_args(hint)[0], element) for element in text.split("+"))
    if typing.get_origin(hint) is Literal:
        if text not in typing.get_args(hint):
            raise wrong(f"one of {', '.join(map(str, typing.get_args(hint)))}")
        return text
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise wrong(KINDS[bool])
        return text.lower() == "true"
    try:
        value = hint(text)
    except ValueError:
        raise wrong(KINDS[hint]) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong("finite numbers")
    return value


def with_settings(base: Any, settings: Mapping[str, Any]) -> Any:
    """``base`` with the fields of these dotted names changed."""
    for name, value in settings.items():
        head, _, rest = name.partition(".")
        base = replace(base, **{head: with_settings(getattr(base, head), {rest: value}) if rest else value})
    return base


def cells(grid: Grid, seeds: Sequence[int]) -> list[Cell]:
    """Every combination of the grid's values with every seed; seeds vary fastest."""
    return [
        Cell(dict(zip(grid, values, strict=True)), seed)
        for values in itertools.product(*grid.values())
        for seed in seeds
    ]
