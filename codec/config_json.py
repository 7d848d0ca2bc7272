"""Configurations as JSON and back, strictly: a field that is unknown, or of another type, is named."""

import dataclasses
import difflib
import types
import typing
from typing import Any

from codec.config import CodecConfig


def to_json(config: CodecConfig) -> dict[str, Any]:
    return dataclasses.asdict(config)


def from_json(values: Any, where: str) -> CodecConfig:
    """ValueError names `where`, the field, what came and what is allowed. Absent fields have their defaults."""
    try:
        return _value(CodecConfig, values, "")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _value(kind: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, path)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):  # of one type and None
        return None if value is None else _value(arguments[0], value, path)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(arguments[0], item, f"{path}[{index}]") for index, item in enumerate(value))
    if origin is typing.Literal and value in arguments:
        return value
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    wanted = " or ".join(map(repr, arguments)) if origin is typing.Literal else getattr(kind, "__name__", str(kind))
    raise ValueError(f"{path or 'the configuration'} is {value!r}, not {wanted}")


def _dataclass(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{path or 'the configuration'} is {value!r}, not an object of fields")
    hints = typing.get_type_hints(kind)
    for name in value.keys() - hints.keys():
        near = difflib.get_close_matches(name, hints, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(hints)}"
        raise ValueError(f"unknown field {f'{path}.{name}'.lstrip('.')!r}, {hint}")
    return kind(**{name: _value(hints[name], item, f"{path}.{name}".lstrip(".")) for name, item in value.items()})
