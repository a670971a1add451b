"""The memory functions of the CPU executor, as LLVM IR: what LLVM lowers its memory intrinsics to.

64 bytes at a time, then single bytes.
"""

MEMORY_IR = """
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
