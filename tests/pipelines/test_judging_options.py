from dataclasses import fields

from infra.config import from_json
from pipelines.evaluate import Evaluate
from pipelines.judging_options import JudgingOptions
from pipelines.retrain_config import Frozen, JudgingConfig

OTHER = {"split": "held", "count": 3, "metrics": ("stoi",), "plug_in": ("a=b:c",), "recogniser": "pocketsphinx"}
OTHER |= {"seed": 9, "heard": 1, "clips_per_part": 2}


def test_every_option_of_a_retrainings_judgement_reaches_the_evaluation():
    options = from_json(JudgingConfig, OTHER, "here")
    evaluation = Evaluate(model="m", **options.shared())
    assert {name: getattr(evaluation, name) for name in OTHER} == OTHER
    assert set(OTHER) == {field.name for field in fields(JudgingOptions)}
    assert all(getattr(JudgingOptions(), name) != getattr(options, name) for name in OTHER)


def test_what_only_one_of_them_has_is_not_shared():
    assert "datasets" not in JudgingConfig(datasets=(Frozen("place", "id", "0" * 64),)).shared()
    assert not {"model", "options"} & set(Evaluate(model="m").shared())


def test_both_start_from_the_same_values():
    assert JudgingConfig().shared() == Evaluate(model="m").shared()
