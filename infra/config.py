"""Configuration: frozen dataclasses in, JSON out and back, and the fingerprint that names what was made with it."""

import dataclasses
import difflib
import hashlib
import json
import typing
from typing import Any

import msgspec


def to_json(config: Any) -> dict[str, Any]:
    """A dataclass (or msgspec Struct) as plain JSON values."""
    return msgspec.to_builtins(config)


def from_json(kind: Any, values: dict[str, Any], where: str) -> Any:
    """The dataclass `kind` (a generic one with its parameter, too) of JSON values. ValueError names the place and the field."""
    unknown = _unknown(kind, values, "")
    if unknown:
        raise ValueError(f"{where}: {unknown}")
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{where}: {error}") from error


def fingerprint(values: Any) -> str:
    """Twelve hex digits of the sha256 of the canonical JSON of `values`."""
    text = json.dumps(msgspec.to_builtins(values), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _unknown(kind: Any, values: dict[str, Any], path: str) -> str:
    """What is wrong with the first name that `kind` does not have, with the nearest one it has; "" if there is none."""
    origin = typing.get_origin(kind) or kind
    parameters = dict(zip(getattr(origin, "__parameters__", ()), typing.get_args(kind), strict=False))
    hints = typing.get_type_hints(origin)
    fields = {field.name: parameters.get(hints[field.name], hints[field.name]) for field in dataclasses.fields(origin)}
    for name, value in values.items():
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            return f"unknown option {path + name!r}, " + (
                f"did you mean {near[0]!r}?" if near else f"there are {', '.join(fields)}"
            )
        if dataclasses.is_dataclass(fields[name]) and isinstance(value, dict):
            found = _unknown(fields[name], value, f"{path}{name}.")
            if found:
                return found
    return ""
