"""Configuration: frozen dataclasses in, command line and JSON out, and the fingerprint that names a dataset."""

import dataclasses
import hashlib
import json
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def to_json(config: Any) -> dict:
    """A dataclass (or msgspec Struct) as plain JSON values."""
    return msgspec.to_builtins(config)


def from_json(kind: type[T], values: dict, where: str) -> T:
    """The dataclass of JSON values. ValueError names the file, the field and what is allowed there."""
    unknown = _unknown_fields(kind, values)
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


def _unknown_fields(kind: type, values: dict, path: str = "") -> str:
    """The first name in `values` that `kind` does not have, with the nearest one it has; "" if there is none."""
    import difflib

    fields = {field.name: field.type for field in dataclasses.fields(kind)}
    for name, value in values.items():
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f", did you mean {near[0]!r}?" if near else f"; known are {', '.join(fields)}"
            return f"unknown option {path + name!r}{hint}"
        if dataclasses.is_dataclass(fields[name]) and isinstance(value, dict):
            found = _unknown_fields(fields[name], value, f"{path}{name}.")
            if found:
                return found
    return ""
