func.func @first() {
  return
}

// -----
func.func @second() -> i32 {
      return %missing : i32
}

// -----
func.func @third() {
  return
}
