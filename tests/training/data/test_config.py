import pytest

from infra.config import from_json, to_json
from training.data.config import DataConfig, DomainWeights


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_channels": 3}, "num_channels is 3: give 1 or 2"),
        ({"peak": (0.5, 1.5)}, "peak"),
        ({"crop_s": 0.0}, "crop_s"),
        ({"roles": ()}, "roles not empty"),
        ({"logical_workers": 0}, "logical_workers is 0: give 1 or more"),
        ({"max_reject_share": 2.0}, "max_reject_share is 2.0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(**values)


def test_some_domain_needs_a_weight():
    with pytest.raises(ValueError, match="at least one above 0"):
        DomainWeights(0, 0, 0)
    with pytest.raises(ValueError, match="0 or more"):
        DomainWeights(speech=-1)


def test_a_configuration_survives_json():
    config = DataConfig(corpora=("a",), shards=("music=b",), weights=DomainWeights(noise=1))
    assert from_json(DataConfig, to_json(config), "run.json") == config
