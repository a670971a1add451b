"""What this card can do at best: the rate of a plain copy."""

from statistics import median

from lumir.runtime.cuda_clock import Stopwatch
from lumir.runtime.cuda_driver import call
from lumir.runtime.cuda_gpu import Gpu
from lumir.runtime.cuda_memory import DeviceMemory, current


def copy_rate(gpu: Gpu, nbytes: int) -> float:
    """Bytes a second, read plus written, of the driver's copy from one place in GPU memory to another."""
    with current(gpu.context):
        source, target = (DeviceMemory(gpu.context, nbytes, "copy") for _ in range(2))
        call("cuMemsetD8", source.address, 0x37, nbytes)
        watch = Stopwatch(gpu.context, gpu.stream)
        places = target.address, source.address
        times = [watch.seconds(lambda: call("cuMemcpyDtoDAsync", *places, nbytes, gpu.stream)) for _ in range(12)]
    return 2 * nbytes / median(times[2:])


_EACH_CLOCK = {(8, 0): 2048, (8, 6): 1024, (8, 9): 1024, (9, 0): 4096, (10, 0): 8192, (12, 0): 1024}
"""Operations that the tensor cores of a multiprocessor start each clock, of 16 bits with float32 sums; NVIDIA's papers
on the architectures. Boards for games do half of it."""


def nominal_rate(gpu: Gpu) -> float:
    """Operations a second of 16 bits at the highest clock, which no kernel has for long; 0 where it is not known."""
    return _EACH_CLOCK.get(gpu.capability, 0) * gpu.multiprocessors * gpu.clock
