import dataclasses

import pytest
import yaml

from infra.config import to_json
from infra.deploy.description import Description, Head, Schedule, WorkerGroup, load
from tests.infra.deploy.rendered import FULL


def test_a_file_says_what_differs_and_nothing_else_changes(tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "bucket: my-bucket\nhead: {cpus: 3}\nworkers:\n- {name: a, instance_type: m, cpus: 3, memory_gb: 14, most: 2}\n"
    )
    expected = dataclasses.replace(
        Description(), bucket="my-bucket", head=Head(cpus=3), workers=(WorkerGroup("a", "m", 3, 14, 2),)
    )
    assert load(str(path)) == expected


@pytest.mark.parametrize("description", [Description(), FULL])
def test_what_is_written_is_read_back(description, tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(to_json(description)))
    assert load(str(path)) == description


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("buckett: x", "did you mean 'bucket'"),
        ("head: {cpu: 3}", "did you mean 'cpus'"),
        ("bucket: s3://x", "the name of a bucket, without s3://"),
        ("prefix: /a", "prefix is '/a'"),
        ("name: Quarkline", "small letters"),
        ("name: a-name-that-is-far-too-long-for-kuberay", "at most 22"),
        ("account_id: '12'", "12 digits"),
        ("workers: []", "one group or more"),
        ("schedule: {cron: daily}", "five fields"),
        ("schedule: {time_zone: Europe/Atlantis}", "Europe/Berlin"),
        ("egress_cidrs: [everywhere]", "everywhere"),
        ("redis_address: redis.stores", "host:port"),
        ("redis_address: redis:6379", "redis.stores:6379"),
        ("redis_address: 'redis://redis.stores:6379'", "host:port"),
        ("retries: many", "retries"),
        ("- a", "give a mapping"),
        ("a: [", "cannot be read"),
        ("workers: [{name: a, instance_type: x, cpus: 1, memory_gb: 4, most: 1}]", "more than /dev/shm"),
        ("workers: [{name: a, instance_type: x, cpus: 1, memory_gb: 64, most: 1, least: 2}]", "and least"),
    ],
)
def test_mistakes_name_the_file_and_the_remedy(text, message, tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        load(str(path))
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_examples_and_images_without_a_digest_are_warned_of():
    assert len(Description().warnings()) == 2
    assert FULL.warnings() == []


def test_there_is_no_field_for_a_secret():
    names = {field.name for kind in (Description, Head, WorkerGroup, Schedule) for field in dataclasses.fields(kind)}
    assert [
        name for name in names if any(word in name for word in ("secret", "password", "token", "credential", "access_key"))
    ] == []
