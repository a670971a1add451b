// REQUIRES: mlir-opt-22
// RUN: mlir-opt-22 %s --canonicalize --cse > %t.theirs && lumir-opt %s --canonicalize --cse > %t.ours
// RUN: filecheck %s --input-file=%t.theirs
// RUN: filecheck %s --input-file=%t.ours
// RUN: diff -B %t.theirs %t.ours

// CHECK: arith.constant 2 : i32
func.func @f() -> i32 {
  %0 = arith.constant 1 : i32
  %1 = arith.addi %0, %0 : i32
  return %1 : i32
}
