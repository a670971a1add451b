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
