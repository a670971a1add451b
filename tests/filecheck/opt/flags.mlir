// RUN: lumir-opt %s --canonicalize | filecheck %s
// RUN: lumir-opt %s -canonicalize | filecheck %s
// RUN: lumir-opt %s --canonicalize="max-iterations=2 top-down=false" --cse | filecheck %s
// RUN: lumir-opt --pass-pipeline='builtin.module(func.func(canonicalize,cse))' < %s | filecheck %s
// RUN: lumir-opt %s --lumir-cleanup=max-iterations=2 | filecheck %s --check-prefix=CLEAN
// RUN: lumir-opt %s --llvm-request-c-wrappers | filecheck %s --check-prefix=NEST
// RUN: lumir-opt %s --cse --dump-pass-pipeline -o %t 2>&1 | filecheck %s --check-prefix=DUMP

// CHECK-LABEL: func.func @fold
// CHECK-NEXT:    %[[C:.*]] = arith.constant 2 : i32
// CHECK-NEXT:    return %[[C]]

// CLEAN: arith.constant 2 : i32
// NEST: func.func @fold() -> i32 attributes {llvm.emit_c_interface}
// DUMP: builtin.module(cse)
func.func @fold() -> i32 {
  %0 = arith.constant 1 : i32
  %1 = arith.constant 1 : i32
  %2 = arith.addi %0, %1 : i32
  return %2 : i32
}
