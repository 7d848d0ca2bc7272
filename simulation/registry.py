"""The tasks there are: one module each in simulation/tasks, found by looking. Adding a file adds a task."""

import difflib
import functools
import importlib
import pkgutil
from typing import Any, Protocol

import simulation.tasks
from simulation.bank import Bank
from simulation.example import Example, Load
from simulation.seeds import Rng


class Task(Protocol):
    """What a module in simulation/tasks has. `PRESETS` (name -> Config) is optional."""

    __doc__: str
    Config: type
    Scene: type

    def draw(self, config: Any, bank: Bank, rng: Rng) -> Any:
        """A scene: the only place with randomness."""

    def render(self, scene: Any, load: Load) -> Example:
        """The scene's audio and labels: no randomness, no configuration."""


def names() -> list[str]:
    """Every task's name, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(simulation.tasks.__path__))


@functools.cache
def task(name: str) -> Task:
    """The task's module. ValueError with the nearest name for an unknown one."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())}"
        raise ValueError(f"no task {name!r}: {hint}")
    return importlib.import_module(f"simulation.tasks.{name}")


def configurations() -> dict[str, tuple[str, Any]]:
    """What a command line can name, `lass` or `sr-published`, with the task and its starting Config."""
    found = {}
    for name in names():
        module = task(name)
        found[name] = (name, module.Config())
        found |= {f"{name}-{preset}": (name, config) for preset, config in getattr(module, "PRESETS", {}).items()}
    return found
