"""How a thread of the CPU executor runs launches, as LLVM IR; `host_executor` says what a record holds.

The workgroups of a launch are split into one range for each thread; a thread takes `chunk` of them at a time from its
own range, then from the others', so that the same thread meets the same data in the next launch and none idles while
work is left. What it has taken of each range is counted in the pool, from its sixth cache line on (`host_pool`).
"""

LAUNCHES_IR = """
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
