"""The native part of the CPU runtime: the launch loop, its threads' barrier, and the memory functions.

It is linked into every `kernels/host.bin`, so that running needs no compiler. Its interface (all integers int64):

    lumir_pool_bytes(threads) -> bytes                   memory of a pool of that many threads
    lumir_pool_init(pool, threads, syscall, patience)    pool: zeroed, 64-byte aligned; syscall: libc's function
    lumir_worker(pool, thread)                           what threads 1 .. threads-1 run, until `lumir_stop`
    lumir_run(pool, records, n)                          run n launches; the caller is thread 0
    lumir_stop(pool)                                     let the workers return
    lumir_copy(workgroup, {src, dst, nbytes, chunk})     a kernel that copies one chunk for each workgroup

A record is `{function, args, workgroups, chunk}`: `host_launches` runs them, on the threads of `host_pool`, with the
memory functions of `host_memory`, which kernels call too.
"""

from functools import lru_cache

from lumir.codegen.host import compile_host
from lumir.codegen.host_launches import LAUNCHES_IR
from lumir.codegen.host_memory import MEMORY_IR
from lumir.codegen.host_pool import POOL_IR


@lru_cache(maxsize=1)
def executor_object() -> bytes:
    """The executor as an object file for any x86-64 CPU; compiled once in a process."""
    return compile_host(LAUNCHES_IR + POOL_IR + MEMORY_IR, cpu="x86-64", opt_level=1)
