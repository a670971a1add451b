// RUN: lumir-opt %s --split-input-file --verify-diagnostics
// RUN: lumir-opt %s --split-input-file --verify-diagnostics --lumir-check-dialects=allowed=func,test

func.func @on_this_line() -> i32 {
  return // expected-error {{'func.return' op has 0 operands, but enclosing function (@on_this_line) returns 1}}
}

// -----

func.func @next_line() -> i32 {
  // expected-error@+1 {{has 0 operands}}
  return
}

// -----

func.func @below() -> i32 {
  // expected-error @below {{has 0 operands}}
  return
}

// -----

func.func @above() -> i32 {
  return
  // expected-error@above {{has 0 operands}}
}

// -----

func.func @before() -> i32 {
  return

  // expected-error@-2 {{has 0 operands}}
}

// -----

func.func @pattern() -> i32 {
  // expected-error-re@+1 {{has {{[0-9]+}} operands, but enclosing function (@pattern)}}
  return
}

// -----

// expected-note@+1 {{prior use here}}
func.func @note(%a: i32) -> i64 {
  // expected-error@+1 {{use of value '%a' expects different type than prior uses: 'i64' vs 'i32'}}
  return %a : i64
}
