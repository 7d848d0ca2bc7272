from tests.infra.deploy.rendered import FULL, objects, of_kind, pods


def test_kubernetes_itself_refuses_pods_that_are_not_restricted():
    (namespace,) = of_kind(FULL, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_everything_is_in_the_namespace():
    assert {one["metadata"].get("namespace", "") for one in objects(FULL) if one["kind"] != "Namespace"} == {"audio"}


def test_the_shared_storage_is_what_pods_mount_and_only_training_writes_to_it():
    (claim,) = of_kind(FULL, "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    writable = set()
    for _, pod in pods(FULL):
        for volume in pod["spec"]["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
                if not volume["persistentVolumeClaim"]["readOnly"]:
                    writable.add(pod["metadata"]["labels"]["app.kubernetes.io/component"])
    assert writable == {"train-codec", "train-lm", "retrain", "interactive"}


def test_the_head_of_the_cluster_that_stays_is_not_evicted():
    (budget,), (cluster,) = of_kind(FULL, "PodDisruptionBudget"), of_kind(FULL, "RayCluster")
    assert budget["spec"]["minAvailable"] == 1
    assert budget["spec"]["selector"]["matchLabels"]["ray.io/cluster"] == cluster["metadata"]["name"]
