// RUN: lumir-opt %s --split-input-file --verify-diagnostics --lumir-check-dialects='allowed=func by=convert-arith-to-llvm'

func.func @allowed() {
  return
}

// -----

func.func @offending() {
  // expected-error@+1 {{'arith.constant' op must not be left here: only func may; convert-arith-to-llvm should have removed it}}
  %0 = arith.constant 1 : i32
  // expected-error@+1 {{'scf.execute_region' op must not be left here}}
  scf.execute_region {
    // expected-error@+1 {{'scf.yield' op must not be left here}}
    scf.yield
  }
  return
}
