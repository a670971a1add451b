// RUN: lumir-opt %s --split-input-file | filecheck %s
// RUN: not lumir-opt %S/Inputs/second-is-wrong.mlir --split-input-file 2>&1 | filecheck %s --check-prefix=WRONG

// CHECK:      func.func @first
// CHECK:      // -----
// CHECK-NEXT: module {
// CHECK-NEXT:   func.func @first
// CHECK-NOT:  // -----
func.func @first() {
  return
}

// -----

func.func @first() {
  return
}

// WRONG:      second-is-wrong.mlir:7:14: error: use of undeclared SSA value name
// WRONG-NEXT: return %missing : i32
// WRONG:      func.func @third
