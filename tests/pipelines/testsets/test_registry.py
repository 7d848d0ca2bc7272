import pytest

from pipelines.testsets.items import Wanted
from pipelines.testsets.registry import LAYOUTS, read


def test_an_unknown_set_is_told_with_the_nearest_name(made):
    with pytest.raises(ValueError, match="did you mean 'libri2mix'"):
        read("libri3mix", made.tree(), Wanted())


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_that_holds_no_such_set_is_told(made, name):
    made.text("readme.txt", "nothing")
    with pytest.raises(ValueError):
        read(name, made.tree(), Wanted())
