"""The ranks and what they work out together. Without torch.distributed it is a world of one rank."""

import sys

from torch import Tensor
from torch import distributed as dist


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def mean_over_ranks(tensor: Tensor) -> Tensor:
    """The element-wise mean, the same bits on all ranks; not finite where any rank's element is not. Collective."""
    mean = tensor.detach().clone()
    if world_size() > 1:
        dist.all_reduce(mean)
    return mean / world_size()


def end_group() -> None:
    """Leave all process groups, those that DeepSpeed keeps, too: its next engine in this process would take them for alive."""
    comm = sys.modules.get("deepspeed.comm")
    (comm if comm and comm.is_initialized() else dist).destroy_process_group()
