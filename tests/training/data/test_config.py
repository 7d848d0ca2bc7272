import pytest

from infra.config import from_json, to_json
from training.data.config import DataConfig, DomainWeights


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_channels": 3}, "--clips.num-channels is 3: give 1 or 2"),
        ({"peak": (0.5, 1.5)}, "--clips.peak is"),
        ({"crop_s": 0.0}, "--clips.crop-s is 0.0: give more than 0"),
        ({"roles": ()}, "--clips.roles names none"),
        ({"logical_workers": 0}, "--clips.logical-workers is 0: give 1 or more"),
        ({"max_reject_share": 2.0}, "--clips.max-reject-share is 2.0"),
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
