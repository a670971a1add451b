"""The native part of the CPU runtime, as LLVM IR: the launch loop, its threads' barrier, and the memory functions.

It is linked into every `kernels/host.bin`, so that running needs no compiler. Its interface (all integers int64):

    lumir_pool_bytes(threads) -> bytes                   memory of a pool of that many threads
    lumir_pool_init(pool, threads, syscall, patience)    pool: zeroed, 64-byte aligned; syscall: libc's function
    lumir_worker(pool, thread)                           what threads 1 .. threads-1 run, until `lumir_stop`
    lumir_run(pool, records, n)                          run n launches; the caller is thread 0
    lumir_stop(pool)                                     let the workers return
    lumir_copy(workgroup, {src, dst, nbytes, chunk})     a kernel that copies one chunk for each workgroup

A record is `{function, args, workgroups, chunk}`. The workgroups of a launch are split into one range for each thread;
a thread takes `chunk` of them at a time from its own range, then from the others', so that the same thread meets the
same data in the next launch and none idles while work is left. Launches are separated by a sense-reversing barrier
(Mellor-Crummey and Scott, 1991) that spins for 10,000 cycles, then yields at each turn, as
other threads may need the CPU to arrive. Between runs a worker does the same for `patience` cycles, then sleeps on a
futex.

The pool, a cache line each: the job's generation (the futex), the sleepers, the barrier's arrivals, its generation,
the job (records, n, threads, stop, syscall, patience), and one counter for each thread.
"""

from functools import lru_cache

from lumir.codegen.host import compile_host

EXECUTOR_IR = """
declare void @llvm.x86.sse2.pause()
declare i64 @llvm.readcyclecounter()
declare i64 @llvm.umin.i64(i64, i64)

; Run chunks of the range of thread %victim until none is left.
define internal void @take(ptr %record, ptr %pool, i64 %victim, i64 %threads) {
entry:
  %fn = load ptr, ptr %record
  %args_at = getelementptr i64, ptr %record, i64 1
  %args = load ptr, ptr %args_at
  %total_at = getelementptr i64, ptr %record, i64 2
  %total = load i64, ptr %total_at
  %chunk_at = getelementptr i64, ptr %record, i64 3
  %chunk = load i64, ptr %chunk_at
  %up = sub i64 %threads, 1
  %scaled = mul i64 %total, %victim
  %rounded = add i64 %scaled, %up
  %low = udiv i64 %rounded, %threads
  %rounded_end = add i64 %rounded, %total
  %high = udiv i64 %rounded_end, %threads
  %length = sub i64 %high, %low
  %line = add i64 %victim, 5
  %offset = shl i64 %line, 6
  %counter = getelementptr i8, ptr %pool, i64 %offset
  %seen = load atomic i64, ptr %counter monotonic, align 8
  %left = icmp ult i64 %seen, %length
  br i1 %left, label %grab, label %done
grab:
  %start = atomicrmw add ptr %counter, i64 %chunk monotonic
  %some = icmp ult i64 %start, %length
  br i1 %some, label %work, label %done
work:
  %chunk_end = add i64 %start, %chunk
  %clipped = call i64 @llvm.umin.i64(i64 %chunk_end, i64 %length)
  %first = add i64 %low, %start
  %end = add i64 %low, %clipped
  br label %loop
loop:
  %i = phi i64 [ %first, %work ], [ %next, %loop ]
  call void %fn(i64 %i, ptr %args)
  %next = add i64 %i, 1
  %again = icmp ult i64 %next, %end
  br i1 %again, label %loop, label %grab
done:
  ret void
}

; The last to arrive resets the counters before it lets the others go: nobody reads them then.
define internal void @barrier(ptr %pool, i64 %threads) {
entry:
  %arrived = getelementptr i8, ptr %pool, i64 128
  %generation = getelementptr i8, ptr %pool, i64 192
  %old = load atomic i32, ptr %generation acquire, align 4
  %before = atomicrmw add ptr %arrived, i32 1 acq_rel
  %before_wide = zext i32 %before to i64
  %others = sub i64 %threads, 1
  %began = call i64 @llvm.readcyclecounter()
  %last = icmp eq i64 %before_wide, %others
  br i1 %last, label %reset, label %wait
reset:
  store atomic i32 0, ptr %arrived monotonic, align 4
  br label %counters
counters:
  %t = phi i64 [ 0, %reset ], [ %t_next, %counters ]
  %line = add i64 %t, 5
  %offset = shl i64 %line, 6
  %counter = getelementptr i8, ptr %pool, i64 %offset
  store atomic i64 0, ptr %counter monotonic, align 8
  %t_next = add i64 %t, 1
  %more = icmp ult i64 %t_next, %threads
  br i1 %more, label %counters, label %release
release:
  %new = add i32 %old, 1
  store atomic i32 %new, ptr %generation release, align 4
  ret void
wait:
  %now = load atomic i32, ptr %generation acquire, align 4
  %same = icmp eq i32 %now, %old
  br i1 %same, label %spin, label %done
spin:
  %clock = call i64 @llvm.readcyclecounter()
  %waited = sub i64 %clock, %began
  %long = icmp ugt i64 %waited, 10000
  br i1 %long, label %yield, label %pause
pause:
  call void @llvm.x86.sse2.pause()
  br label %wait
yield:
  %syscall_at = getelementptr i8, ptr %pool, i64 288
  %syscall = load ptr, ptr %syscall_at
  call i64 (i64, ...) %syscall(i64 24)  ; sched_yield
  br label %wait
done:
  ret void
}

; All launches of a job, as thread %thread; a single thread needs neither counters nor barriers.
define internal void @execute(ptr %pool, ptr %records, i64 %n, i64 %thread, i64 %threads) {
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %solo, label %shared
solo:
  %s = phi i64 [ 0, %entry ], [ %s_next, %solo_end ]
  %s_at = shl i64 %s, 5
  %solo_record = getelementptr i8, ptr %records, i64 %s_at
  %fn = load ptr, ptr %solo_record
  %args_at = getelementptr i64, ptr %solo_record, i64 1
  %args = load ptr, ptr %args_at
  %total_at = getelementptr i64, ptr %solo_record, i64 2
  %total = load i64, ptr %total_at
  %empty = icmp eq i64 %total, 0
  br i1 %empty, label %solo_end, label %solo_loop
solo_loop:
  %i = phi i64 [ 0, %solo ], [ %i_next, %solo_loop ]
  call void %fn(i64 %i, ptr %args)
  %i_next = add i64 %i, 1
  %i_more = icmp ult i64 %i_next, %total
  br i1 %i_more, label %solo_loop, label %solo_end
solo_end:
  %s_next = add i64 %s, 1
  %s_more = icmp ult i64 %s_next, %n
  br i1 %s_more, label %solo, label %done
shared:
  %r = phi i64 [ 0, %entry ], [ %r_next, %shared_end ]
  %r_at = shl i64 %r, 5
  %record = getelementptr i8, ptr %records, i64 %r_at
  br label %victims
victims:
  %k = phi i64 [ 0, %shared ], [ %k_next, %victims ]
  %turn = add i64 %thread, %k
  %wraps = icmp uge i64 %turn, %threads
  %wrapped = sub i64 %turn, %threads
  %victim = select i1 %wraps, i64 %wrapped, i64 %turn
  call void @take(ptr %record, ptr %pool, i64 %victim, i64 %threads)
  %k_next = add i64 %k, 1
  %k_more = icmp ult i64 %k_next, %threads
  br i1 %k_more, label %victims, label %shared_end
shared_end:
  call void @barrier(ptr %pool, i64 %threads)
  %r_next = add i64 %r, 1
  %r_more = icmp ult i64 %r_next, %n
  br i1 %r_more, label %shared, label %done
done:
  ret void
}

; Make a new job visible, and wake the workers that sleep.
define internal void @publish(ptr %pool) {
entry:
  %bumped = atomicrmw add ptr %pool, i32 1 seq_cst
  %sleepers_at = getelementptr i8, ptr %pool, i64 64
  %sleepers = load atomic i32, ptr %sleepers_at seq_cst, align 4
  %any = icmp ne i32 %sleepers, 0
  br i1 %any, label %wake, label %done
wake:
  %syscall_at = getelementptr i8, ptr %pool, i64 288
  %syscall = load ptr, ptr %syscall_at
  call i64 (i64, ...) %syscall(i64 202, ptr %pool, i32 129, i32 2147483647)  ; futex, FUTEX_WAKE_PRIVATE
  br label %done
done:
  ret void
}

define i64 @lumir_pool_bytes(i64 %threads) {
  %lines = add i64 %threads, 5
  %bytes = shl i64 %lines, 6
  ret i64 %bytes
}

define void @lumir_pool_init(ptr %pool, i64 %threads, ptr %syscall, i64 %patience) {
  %threads_at = getelementptr i8, ptr %pool, i64 272
  store i64 %threads, ptr %threads_at
  %syscall_at = getelementptr i8, ptr %pool, i64 288
  store ptr %syscall, ptr %syscall_at
  %patience_at = getelementptr i8, ptr %pool, i64 296
  store i64 %patience, ptr %patience_at
  ret void
}

define void @lumir_run(ptr %pool, ptr %records, i64 %n) {
entry:
  %idle = icmp eq i64 %n, 0
  br i1 %idle, label %done, label %some
some:
  %threads_at = getelementptr i8, ptr %pool, i64 272
  %threads = load i64, ptr %threads_at
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %work, label %share
share:
  %records_at = getelementptr i8, ptr %pool, i64 256
  store ptr %records, ptr %records_at
  %n_at = getelementptr i8, ptr %pool, i64 264
  store i64 %n, ptr %n_at
  call void @publish(ptr %pool)
  br label %work
work:
  call void @execute(ptr %pool, ptr %records, i64 %n, i64 0, i64 %threads)
  br label %done
done:
  ret void
}

define void @lumir_stop(ptr %pool) {
  %stop_at = getelementptr i8, ptr %pool, i64 280
  store i64 1, ptr %stop_at
  call void @publish(ptr %pool)
  ret void
}

define void @lumir_worker(ptr %pool, i64 %thread) {
entry:
  %threads_at = getelementptr i8, ptr %pool, i64 272
  %threads = load i64, ptr %threads_at
  %limit_at = getelementptr i8, ptr %pool, i64 296
  %limit = load i64, ptr %limit_at
  %sleepers_at = getelementptr i8, ptr %pool, i64 64
  %syscall_at = getelementptr i8, ptr %pool, i64 288
  %syscall = load ptr, ptr %syscall_at
  br label %idle
idle:
  %seen = phi i32 [ 0, %entry ], [ %job, %run ]
  %began = call i64 @llvm.readcyclecounter()
  br label %poll
poll:
  %polled = load atomic i32, ptr %pool acquire, align 4
  %new = icmp ne i32 %polled, %seen
  br i1 %new, label %got, label %spin
spin:
  call void @llvm.x86.sse2.pause()
  %clock = call i64 @llvm.readcyclecounter()
  %waited = sub i64 %clock, %began
  %eager = icmp ult i64 %waited, 10000
  br i1 %eager, label %poll, label %tired
tired:
  %patient = icmp ult i64 %waited, %limit
  br i1 %patient, label %yield, label %sleep
yield:
  call i64 (i64, ...) %syscall(i64 24)  ; sched_yield
  br label %poll
sleep:
  atomicrmw add ptr %sleepers_at, i32 1 seq_cst
  call i64 (i64, ...) %syscall(i64 202, ptr %pool, i32 128, i32 %seen, ptr null)  ; futex, FUTEX_WAIT_PRIVATE
  atomicrmw sub ptr %sleepers_at, i32 1 seq_cst
  %woken = load atomic i32, ptr %pool acquire, align 4
  %real = icmp ne i32 %woken, %seen
  br i1 %real, label %got, label %sleep
got:
  %job = phi i32 [ %polled, %poll ], [ %woken, %sleep ]
  %stop_at = getelementptr i8, ptr %pool, i64 280
  %stop = load i64, ptr %stop_at
  %stopped = icmp ne i64 %stop, 0
  br i1 %stopped, label %done, label %run
run:
  %records_at = getelementptr i8, ptr %pool, i64 256
  %records = load ptr, ptr %records_at
  %n_at = getelementptr i8, ptr %pool, i64 264
  %n = load i64, ptr %n_at
  call void @execute(ptr %pool, ptr %records, i64 %n, i64 %thread, i64 %threads)
  br label %idle
done:
  ret void
}

define void @lumir_copy(i64 %workgroup, ptr %args) {
  %src = load ptr, ptr %args
  %dst_at = getelementptr i64, ptr %args, i64 1
  %dst = load ptr, ptr %dst_at
  %nbytes_at = getelementptr i64, ptr %args, i64 2
  %nbytes = load i64, ptr %nbytes_at
  %chunk_at = getelementptr i64, ptr %args, i64 3
  %chunk = load i64, ptr %chunk_at
  %begin = mul i64 %workgroup, %chunk
  %left = sub i64 %nbytes, %begin
  %size = call i64 @llvm.umin.i64(i64 %left, i64 %chunk)
  %from = getelementptr i8, ptr %src, i64 %begin
  %to = getelementptr i8, ptr %dst, i64 %begin
  %ignored = call ptr @memcpy(ptr %to, ptr %from, i64 %size)
  ret void
}
"""

MEMORY_IR = """
; LLVM lowers its memory intrinsics to these three. 64 bytes at a time, then single bytes.
define ptr @memcpy(ptr %dst, ptr %src, i64 %n) {
entry:
  %wide = and i64 %n, -64
  %any_wide = icmp ne i64 %wide, 0
  br i1 %any_wide, label %blocks, label %tail
blocks:
  %b = phi i64 [ 0, %entry ], [ %b_next, %blocks ]
  %b_from = getelementptr i8, ptr %src, i64 %b
  %b_to = getelementptr i8, ptr %dst, i64 %b
  %block = load <64 x i8>, ptr %b_from, align 1
  store <64 x i8> %block, ptr %b_to, align 1
  %b_next = add i64 %b, 64
  %b_more = icmp ult i64 %b_next, %wide
  br i1 %b_more, label %blocks, label %tail
tail:
  %any = icmp ult i64 %wide, %n
  br i1 %any, label %bytes, label %done
bytes:
  %i = phi i64 [ %wide, %tail ], [ %i_next, %bytes ]
  %from = getelementptr i8, ptr %src, i64 %i
  %to = getelementptr i8, ptr %dst, i64 %i
  %byte = load i8, ptr %from
  store i8 %byte, ptr %to
  %i_next = add i64 %i, 1
  %more = icmp ult i64 %i_next, %n
  br i1 %more, label %bytes, label %done
done:
  ret ptr %dst
}

define ptr @memmove(ptr %dst, ptr %src, i64 %n) {
entry:
  %dst_int = ptrtoint ptr %dst to i64
  %src_int = ptrtoint ptr %src to i64
  %ahead = sub i64 %dst_int, %src_int
  %overlaps = icmp ult i64 %ahead, %n
  br i1 %overlaps, label %tail, label %forward
forward:
  %copied = call ptr @memcpy(ptr %dst, ptr %src, i64 %n)
  ret ptr %dst
tail:
  %i = phi i64 [ %n, %entry ], [ %i_next, %byte ]
  %rest = and i64 %i, 63
  %whole = icmp eq i64 %rest, 0
  br i1 %whole, label %blocks, label %byte
byte:
  %i_next = sub i64 %i, 1
  %from = getelementptr i8, ptr %src, i64 %i_next
  %to = getelementptr i8, ptr %dst, i64 %i_next
  %value = load i8, ptr %from
  store i8 %value, ptr %to
  br label %tail
blocks:
  %b = phi i64 [ %i, %tail ], [ %b_next, %block ]
  %end = icmp eq i64 %b, 0
  br i1 %end, label %done, label %block
block:
  %b_next = sub i64 %b, 64
  %b_from = getelementptr i8, ptr %src, i64 %b_next
  %b_to = getelementptr i8, ptr %dst, i64 %b_next
  %wide = load <64 x i8>, ptr %b_from, align 1
  store <64 x i8> %wide, ptr %b_to, align 1
  br label %blocks
done:
  ret ptr %dst
}

define ptr @memset(ptr %dst, i32 %value, i64 %n) {
entry:
  %byte = trunc i32 %value to i8
  %one = insertelement <64 x i8> poison, i8 %byte, i64 0
  %all = shufflevector <64 x i8> %one, <64 x i8> poison, <64 x i32> zeroinitializer
  %wide = and i64 %n, -64
  %any_wide = icmp ne i64 %wide, 0
  br i1 %any_wide, label %blocks, label %tail
blocks:
  %b = phi i64 [ 0, %entry ], [ %b_next, %blocks ]
  %b_to = getelementptr i8, ptr %dst, i64 %b
  store <64 x i8> %all, ptr %b_to, align 1
  %b_next = add i64 %b, 64
  %b_more = icmp ult i64 %b_next, %wide
  br i1 %b_more, label %blocks, label %tail
tail:
  %any = icmp ult i64 %wide, %n
  br i1 %any, label %bytes, label %done
bytes:
  %i = phi i64 [ %wide, %tail ], [ %i_next, %bytes ]
  %to = getelementptr i8, ptr %dst, i64 %i
  store i8 %byte, ptr %to
  %i_next = add i64 %i, 1
  %more = icmp ult i64 %i_next, %n
  br i1 %more, label %bytes, label %done
done:
  ret ptr %dst
}
"""


@lru_cache(maxsize=1)
def executor_object() -> bytes:
    """The executor as an object file for any x86-64 CPU; compiled once in a process."""
    return compile_host(EXECUTOR_IR + MEMORY_IR, cpu="x86-64", opt_level=1)
