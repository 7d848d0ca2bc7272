import inspect

import pytest

from simulation.registry import configurations, names, task


def test_every_task_keeps_the_contract():
    assert {"sr", "tse", "rtse", "ss", "lass"} <= set(names())
    for name in names():
        module = task(name)
        assert module.__doc__
        assert list(inspect.signature(module.draw).parameters) == ["config", "bank", "rng"]
        assert list(inspect.signature(module.render).parameters) == ["scene", "load"]
        assert module.Config() == module.Config()
        assert module.Scene.__struct_config__.frozen


def test_an_unknown_task_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'lass'"):
        task("las")
    with pytest.raises(ValueError, match=r"there are .*lass"):
        task("music")


def test_presets_are_named_after_their_task():
    assert configurations()["sr-published"][0] == "sr"
    assert configurations()["sr"][1] != configurations()["sr-published"][1]
