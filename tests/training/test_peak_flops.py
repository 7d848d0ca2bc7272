import torch

from training.peak_flops import named_peak, peak_flops_per_s


def test_known_devices_have_a_peak_and_others_none():
    assert named_peak("NVIDIA H200") == 989e12
    assert named_peak("NVIDIA H100 PCIe") == 756e12
    assert named_peak("NVIDIA H100 80GB HBM3") == 989e12
    assert named_peak("some other") is None


def test_a_cpu_has_no_stated_peak():
    assert peak_flops_per_s(torch.device("cpu"), "bf16") is None
