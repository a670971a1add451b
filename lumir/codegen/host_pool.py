"""The threads of the CPU executor, as LLVM IR: how they get a job, wait for each other, sleep and stop.

Launches are separated by a sense-reversing barrier (Mellor-Crummey and Scott, 1991) that spins for 10,000 cycles, then
yields at each turn, as other threads may need the CPU to arrive. Between runs a worker does the same for `patience`
cycles, then sleeps on a futex.

The pool, a cache line each: the job's generation (the futex), the sleepers, the barrier's arrivals, its generation,
the job (records, n, threads, stop, syscall, patience), and one counter for each thread.
"""

POOL_IR = """
declare void @llvm.x86.sse2.pause()
declare i64 @llvm.readcyclecounter()

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
"""
