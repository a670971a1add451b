// RUN: not lumir-opt %s --canonicalize --lumir-check-dialects=allowed=arith --cse --print-ir-tree-dir=%t 2> %t.err
// RUN: filecheck %s --input-file=%t/00-input.mlir --check-prefix=INPUT
// RUN: filecheck %s --input-file=%t/01-canonicalize.mlir --check-prefix=FIRST
// RUN: filecheck %s --input-file=%t/steps.txt --check-prefix=STEPS
// RUN: not lumir-opt --run-reproducer %t/01-canonicalize.mlir 2>&1 | filecheck %s --check-prefix=AGAIN
// RUN: not test -e %t/02-lumir-check-dialects.mlir

// INPUT:      // RUN: lumir-opt --pass-pipeline='builtin.module(canonicalize,lumir-check-dialects{allowed=arith},cse)' 00-input.mlir
// INPUT:      arith.addi
// FIRST:      // RUN: lumir-opt --pass-pipeline='builtin.module(lumir-check-dialects{allowed=arith},cse)' 01-canonicalize.mlir
// FIRST-NOT:  arith.addi
// STEPS:      01-canonicalize started
// STEPS-NEXT: 01-canonicalize done
// STEPS-NEXT: 02-lumir-check-dialects started
// STEPS-NEXT: 02-lumir-check-dialects failed
// AGAIN:      'func.func' op must not be left here
func.func @f() -> i32 {
  %0 = arith.constant 1 : i32
  %1 = arith.addi %0, %0 : i32
  return %1 : i32
}
