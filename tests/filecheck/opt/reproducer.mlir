// RUN: not lumir-opt %s --cse --lumir-check-dialects=allowed=func --canonicalize --reproducer=%t.mlir 2>&1 | filecheck %s --check-prefix=ERROR
// RUN: filecheck %s --input-file=%t.mlir
// RUN: not lumir-opt --run-reproducer %t.mlir 2>&1 | filecheck %s --check-prefix=AGAIN
// RUN: lumir-opt --run-reproducer %S/Inputs/upstream-reproducer.mlir | filecheck %s --check-prefix=UPSTREAM
// RUN: not lumir-opt --run-reproducer %s 2>&1 | filecheck %s --check-prefix=NONE
// RUN: not lumir-opt --run-reproducer < %s 2>&1 | filecheck %s --check-prefix=STDIN

// ERROR:      loc("/layer/Add"): error: 'arith.constant' op must not be left here: only func may
// ERROR:      step: 2 of 3, builtin.module(lumir-check-dialects{allowed=func})
// ERROR-NEXT: reproducer: {{.*}}.mlir

// CHECK:      // RUN: lumir-opt --pass-pipeline='builtin.module(cse,lumir-check-dialects{allowed=func})' reproducer.tmp.mlir
// CHECK:      loc("/layer/Add"

// AGAIN:      pass 'lumir-check-dialects' failed
// UPSTREAM:   arith.constant 2
// NONE:       error[not-a-reproducer]
// STDIN:      error[usage]: --run-reproducer needs a file
func.func @f() -> i32 {
  %0 = arith.constant 1 : i32 loc("/layer/Add")
  return %0 : i32
}
