"""What devices can do at most: dense bf16 matrix products, as their makers state it."""

import torch

PEAK_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "RTX 4090": 165.0,
}


def peak_flops_per_s(device: torch.device, precision: str) -> float | None:
    """Of a GPU that is known, in bf16; None for what has no stated peak."""
    if device.type != "cuda" or precision != "bf16":
        return None
    return named_peak(torch.cuda.get_device_name(device))


def named_peak(name: str) -> float | None:
    return next((1e12 * tflops for known, tflops in PEAK_TFLOPS.items() if known in name), None)
