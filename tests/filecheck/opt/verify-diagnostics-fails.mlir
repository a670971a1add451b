// RUN: not lumir-opt %s --split-input-file --verify-diagnostics 2>&1 | filecheck %s
// RUN: not lumir-opt %s --split-input-file --verify-diagnostics=only-expected 2>&1 | filecheck %s --check-prefix=ONLY

// CHECK:      verify-diagnostics-fails.mlir:11:1: error: unexpected error: 'func.return' op has 0 operands
// CHECK:      verify-diagnostics-fails.mlir:17:1: error: expected warning "never" was not produced
// CHECK:      verify-diagnostics-fails.mlir:23:1: error: malformed expectation
// ONLY-NOT:   unexpected
// ONLY:       expected warning "never" was not produced

func.func @unexpected() -> i32 {
  return
}

// -----

func.func @missing() {
  // expected-warning@+1 {{never}}
  return
}

// -----

func.func @malformed() { // expected-error: this has no braces
  return
}
