// RUN: lumir-opt %s --split-input-file --verify-diagnostics

// At least one broken rule of every op: each message names the op, the rule and the values seen.

func.func @abs(%x: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.abs' op element type must be float or integer (found type = i1)}}
  %0 = "lumir.abs"(%x) : (tensor<2x3xi1>) -> tensor<2x3xi1>
  return
}

// -----

func.func @neg(%x: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.neg' op element type must be float or integer (found type = i1)}}
  %0 = "lumir.neg"(%x) : (tensor<2x3xi1>) -> tensor<2x3xi1>
  return
}

// -----

func.func @sign(%x: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.sign' op element type must be float or integer (found type = i1)}}
  %0 = "lumir.sign"(%x) : (tensor<2x3xi1>) -> tensor<2x3xi1>
  return
}

// -----

func.func @exp(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.exp' op element type must be float (found type = i32)}}
  %0 = "lumir.exp"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @log(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.log' op element type must be float (found type = i32)}}
  %0 = "lumir.log"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @log1p(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.log1p' op element type must be float (found type = i32)}}
  %0 = "lumir.log1p"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @expm1(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.expm1' op element type must be float (found type = i32)}}
  %0 = "lumir.expm1"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @sqrt(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.sqrt' op element type must be float (found type = i32)}}
  %0 = "lumir.sqrt"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @rsqrt(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.rsqrt' op element type must be float (found type = i32)}}
  %0 = "lumir.rsqrt"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @sin(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.sin' op element type must be float (found type = i32)}}
  %0 = "lumir.sin"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @cos(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.cos' op element type must be float (found type = i32)}}
  %0 = "lumir.cos"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @tan(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.tan' op element type must be float (found type = i32)}}
  %0 = "lumir.tan"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @asin(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.asin' op element type must be float (found type = i32)}}
  %0 = "lumir.asin"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @acos(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.acos' op element type must be float (found type = i32)}}
  %0 = "lumir.acos"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @atan(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.atan' op element type must be float (found type = i32)}}
  %0 = "lumir.atan"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @sinh(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.sinh' op element type must be float (found type = i32)}}
  %0 = "lumir.sinh"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @cosh(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.cosh' op element type must be float (found type = i32)}}
  %0 = "lumir.cosh"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @tanh(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.tanh' op element type must be float (found type = i32)}}
  %0 = "lumir.tanh"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @asinh(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.asinh' op element type must be float (found type = i32)}}
  %0 = "lumir.asinh"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @acosh(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.acosh' op element type must be float (found type = i32)}}
  %0 = "lumir.acosh"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @atanh(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.atanh' op element type must be float (found type = i32)}}
  %0 = "lumir.atanh"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @erf(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.erf' op element type must be float (found type = i32)}}
  %0 = "lumir.erf"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @sigmoid(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.sigmoid' op element type must be float (found type = i32)}}
  %0 = "lumir.sigmoid"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @floor(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.floor' op element type must be float (found type = i32)}}
  %0 = "lumir.floor"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @ceil(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.ceil' op element type must be float (found type = i32)}}
  %0 = "lumir.ceil"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @round(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.round' op element type must be float (found type = i32)}}
  %0 = "lumir.round"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @trunc(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.trunc' op element type must be float (found type = i32)}}
  %0 = "lumir.trunc"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @isnan(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.isnan' op element type must be float (found type = i32)}}
  %0 = "lumir.isnan"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi1>
  return
}

// -----

func.func @isinf(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.isinf' op element type must be float (found type = i32)}}
  %0 = "lumir.isinf"(%x) : (tensor<2x3xi32>) -> tensor<2x3xi1>
  return
}

// -----

func.func @not(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.not' op element type must be bool or integer (found type = f32)}}
  %0 = "lumir.not"(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @add(%x: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.add' op element type must be float or integer (found type = i1)}}
  %0 = "lumir.add"(%x, %x) : (tensor<2x3xi1>, tensor<2x3xi1>) -> tensor<2x3xi1>
  return
}

// -----

func.func @sub(%x: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.sub' op element type must be float or integer (found type = i1)}}
  %0 = "lumir.sub"(%x, %x) : (tensor<2x3xi1>, tensor<2x3xi1>) -> tensor<2x3xi1>
  return
}

// -----

func.func @mul(%x: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.mul' op element type must be float or integer (found type = i1)}}
  %0 = "lumir.mul"(%x, %x) : (tensor<2x3xi1>, tensor<2x3xi1>) -> tensor<2x3xi1>
  return
}

// -----

func.func @div(%x: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.div' op element type must be float or integer (found type = i1)}}
  %0 = "lumir.div"(%x, %x) : (tensor<2x3xi1>, tensor<2x3xi1>) -> tensor<2x3xi1>
  return
}

// -----

func.func @mod(%x: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.mod' op element type must be float or integer (found type = i1)}}
  %0 = "lumir.mod"(%x, %x) : (tensor<2x3xi1>, tensor<2x3xi1>) -> tensor<2x3xi1>
  return
}

// -----

func.func @fmod(%x: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.fmod' op element type must be float or integer (found type = i1)}}
  %0 = "lumir.fmod"(%x, %x) : (tensor<2x3xi1>, tensor<2x3xi1>) -> tensor<2x3xi1>
  return
}

// -----

func.func @pow(%x: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.pow' op element type must be float or integer (found type = i1)}}
  %0 = "lumir.pow"(%x, %x) : (tensor<2x3xi1>, tensor<2x3xi1>) -> tensor<2x3xi1>
  return
}

// -----

func.func @max(%x: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.max' op element type must be float or integer (found type = i1)}}
  %0 = "lumir.max"(%x, %x) : (tensor<2x3xi1>, tensor<2x3xi1>) -> tensor<2x3xi1>
  return
}

// -----

func.func @min(%x: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.min' op element type must be float or integer (found type = i1)}}
  %0 = "lumir.min"(%x, %x) : (tensor<2x3xi1>, tensor<2x3xi1>) -> tensor<2x3xi1>
  return
}

// -----

func.func @and(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.and' op element type must be bool or integer (found type = f32)}}
  %0 = "lumir.and"(%x, %x) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @or(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.or' op element type must be bool or integer (found type = f32)}}
  %0 = "lumir.or"(%x, %x) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @xor(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.xor' op element type must be bool or integer (found type = f32)}}
  %0 = "lumir.xor"(%x, %x) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @shl(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.shl' op element type must be integer (found type = f32)}}
  %0 = "lumir.shl"(%x, %x) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @shr(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.shr' op element type must be integer (found type = f32)}}
  %0 = "lumir.shr"(%x, %x) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @eq(%x: tensor<2x3xcomplex<f32>>) {
  // expected-error@+1 {{'lumir.eq' op element type must be float, integer or bool (found type = complex<f32>)}}
  %0 = "lumir.eq"(%x, %x) : (tensor<2x3xcomplex<f32>>, tensor<2x3xcomplex<f32>>) -> tensor<2x3xi1>
  return
}

// -----

func.func @ne(%x: tensor<2x3xcomplex<f32>>) {
  // expected-error@+1 {{'lumir.ne' op element type must be float, integer or bool (found type = complex<f32>)}}
  %0 = "lumir.ne"(%x, %x) : (tensor<2x3xcomplex<f32>>, tensor<2x3xcomplex<f32>>) -> tensor<2x3xi1>
  return
}

// -----

func.func @lt(%x: tensor<2x3xcomplex<f32>>) {
  // expected-error@+1 {{'lumir.lt' op element type must be float, integer or bool (found type = complex<f32>)}}
  %0 = "lumir.lt"(%x, %x) : (tensor<2x3xcomplex<f32>>, tensor<2x3xcomplex<f32>>) -> tensor<2x3xi1>
  return
}

// -----

func.func @le(%x: tensor<2x3xcomplex<f32>>) {
  // expected-error@+1 {{'lumir.le' op element type must be float, integer or bool (found type = complex<f32>)}}
  %0 = "lumir.le"(%x, %x) : (tensor<2x3xcomplex<f32>>, tensor<2x3xcomplex<f32>>) -> tensor<2x3xi1>
  return
}

// -----

func.func @gt(%x: tensor<2x3xcomplex<f32>>) {
  // expected-error@+1 {{'lumir.gt' op element type must be float, integer or bool (found type = complex<f32>)}}
  %0 = "lumir.gt"(%x, %x) : (tensor<2x3xcomplex<f32>>, tensor<2x3xcomplex<f32>>) -> tensor<2x3xi1>
  return
}

// -----

func.func @ge(%x: tensor<2x3xcomplex<f32>>) {
  // expected-error@+1 {{'lumir.ge' op element type must be float, integer or bool (found type = complex<f32>)}}
  %0 = "lumir.ge"(%x, %x) : (tensor<2x3xcomplex<f32>>, tensor<2x3xcomplex<f32>>) -> tensor<2x3xi1>
  return
}

// -----

func.func @abs() {
  // expected-error@+1 {{'lumir.abs' op needs 1 operands (found operands = 0)}}
  "lumir.abs"() : () -> ()
  return
}

// -----

func.func @abs(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.abs' op result type must be the inferred one (found expected = [tensor<2x3xf32>], result = [tensor<3x2xf32>])}}
  %0 = "lumir.abs"(%x) : (tensor<2x3xf32>) -> tensor<3x2xf32>
  return
}

// -----

func.func @abs(%x: tensor<?xf32>) {
  // expected-error@+1 {{'lumir.abs' op operands and results must be ranked tensors whose every size is given (found type = tensor<?xf32>)}}
  %0 = "lumir.abs"(%x) : (tensor<?xf32>) -> tensor<?xf32>
  return
}

// -----

func.func @abs(%x: f32) {
  // expected-error@+1 {{'lumir.abs' op operands and results must be ranked tensors whose every size is given (found type = f32)}}
  %0 = "lumir.abs"(%x) : (f32) -> f32
  return
}

// -----

func.func @abs(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.abs' op unknown attributes; one of your own needs a prefix with a dot (found attributes = [axs])}}
  %0 = "lumir.abs"(%x) {axs = 1 : i64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @add(%x: tensor<2x3xf32>, %y: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.add' op operands must share one element type (found types = [f32, i32])}}
  %0 = "lumir.add"(%x, %y) : (tensor<2x3xf32>, tensor<2x3xi32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @add(%x: tensor<2x3xf32>, %y: tensor<2xf32>) {
  // expected-error@+1 {{'lumir.add' op operand shapes must broadcast (found shapes = [[2, 3], [2]], axis = 1)}}
  %0 = "lumir.add"(%x, %y) : (tensor<2x3xf32>, tensor<2xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @select(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.select' op condition must be a bool tensor (found type = f32)}}
  %0 = "lumir.select"(%x, %x, %x) : (tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @select(%x: tensor<2x3xf32>, %y: tensor<2x3xi32>, %p: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.select' op lhs and rhs must share one element type (found lhs = f32, rhs = i32)}}
  %0 = "lumir.select"(%p, %x, %y) : (tensor<2x3xi1>, tensor<2x3xf32>, tensor<2x3xi32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @cast(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.cast' op needs the attribute 'saturate' (true or false)}}
  %0 = "lumir.cast"(%x) {to = f16} : (tensor<2x3xf32>) -> tensor<2x3xf16>
  return
}

// -----

func.func @cast(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.cast' op attribute 'to' must be a type (found to = 1)}}
  %0 = "lumir.cast"(%x) {to = 1 : i64, saturate = true} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @cast(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.cast' op attribute 'saturate' must be true or false (found saturate = 3)}}
  %0 = "lumir.cast"(%x) {to = f16, saturate = 3 : i64} : (tensor<2x3xf32>) -> tensor<2x3xf16>
  return
}

// -----

func.func @reshape(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.reshape' op reshape must keep the number of elements}}
  %0 = "lumir.reshape"(%x) {shape = array<i64: 4>} : (tensor<2x3xf32>) -> tensor<4xf32>
  return
}

// -----

func.func @reshape(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.reshape' op attribute 'shape' must be array<i64: ...>, or an array of integers and texts (found shape = 6)}}
  %0 = "lumir.reshape"(%x) {shape = 6 : i64} : (tensor<2x3xf32>) -> tensor<6xf32>
  return
}

// -----

func.func @transpose(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.transpose' op permutation must name each dimension once (found permutation = [0, 0]}}
  %0 = "lumir.transpose"(%x) {permutation = array<i64: 0, 0>} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @broadcast(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.broadcast' op operand shapes must broadcast}}
  %0 = "lumir.broadcast"(%x) {shape = array<i64: 2, 4>} : (tensor<2x3xf32>) -> tensor<2x4xf32>
  return
}

// -----

func.func @broadcast(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.broadcast' op input must broadcast to shape}}
  %0 = "lumir.broadcast"(%x) {shape = array<i64: 1, 3>} : (tensor<2x3xf32>) -> tensor<1x3xf32>
  return
}

// -----

func.func @slice(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.slice' op slice must stay inside the input (found start = 2, size = 2, step = 1, dim = 3)}}
  %0 = "lumir.slice"(%x) {starts = array<i64: 0, 2>, sizes = array<i64: 2, 2>, steps = array<i64: 1, 1>} : (tensor<2x3xf32>) -> tensor<2x2xf32>
  return
}

// -----

func.func @slice(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.slice' op one start, size and step a dimension}}
  %0 = "lumir.slice"(%x) {starts = array<i64: 0>, sizes = array<i64: 2, 2>, steps = array<i64: 1, 1>} : (tensor<2x3xf32>) -> tensor<2x2xf32>
  return
}

// -----

func.func @pad(%x: tensor<2x3xf32>, %s: tensor<f32>) {
  // expected-error@+1 {{'lumir.pad' op mode must be one of constant, edge, reflect, wrap (found mode = mirror)}}
  %0 = "lumir.pad"(%x, %s) {low = array<i64: 1, 0>, high = array<i64: 0, 0>, interior = array<i64: 0, 0>, mode = "mirror"} : (tensor<2x3xf32>, tensor<f32>) -> tensor<3x3xf32>
  return
}

// -----

func.func @pad(%x: tensor<2x3xf32>, %s: tensor<f32>) {
  // expected-error@+1 {{'lumir.pad' op interior padding needs mode constant}}
  %0 = "lumir.pad"(%x, %s) {low = array<i64: 1, 0>, high = array<i64: 0, 0>, interior = array<i64: 1, 0>, mode = "edge"} : (tensor<2x3xf32>, tensor<f32>) -> tensor<4x3xf32>
  return
}

// -----

func.func @pad(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.pad' op value must be a scalar of the input's type}}
  %0 = "lumir.pad"(%x, %x) {low = array<i64: 1, 0>, high = array<i64: 0, 0>, interior = array<i64: 0, 0>, mode = "edge"} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<3x3xf32>
  return
}

// -----

func.func @pad(%x: tensor<2x3xf32>, %s: tensor<f32>) {
  // expected-error@+1 {{'lumir.pad' op padded sizes must not be negative (found sizes = [-1, 3])}}
  %0 = "lumir.pad"(%x, %s) {low = array<i64: -3, 0>, high = array<i64: 0, 0>, interior = array<i64: 0, 0>, mode = "constant"} : (tensor<2x3xf32>, tensor<f32>) -> tensor<0x3xf32>
  return
}

// -----

func.func @concat(%x: tensor<2x3xf32>, %y: tensor<2x4xf32>) {
  // expected-error@+1 {{'lumir.concat' op operands must agree in type outside axis}}
  %0 = "lumir.concat"(%x, %y) {axis = 0 : i64} : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<4x3xf32>
  return
}

// -----

func.func @concat(%x: tensor<2x3xf32>, %y: tensor<2xf32>) {
  // expected-error@+1 {{'lumir.concat' op operands must have one rank}}
  %0 = "lumir.concat"(%x, %y) {axis = 0 : i64} : (tensor<2x3xf32>, tensor<2xf32>) -> tensor<4x3xf32>
  return
}

// -----

func.func @iota() {
  // expected-error@+1 {{'lumir.iota' op axis must be in -rank..rank-1 (found axis = 2, rank = 2)}}
  %0 = "lumir.iota"() {type = tensor<2x3xf32>, axis = 2 : i64} : () -> tensor<2x3xf32>
  return
}

// -----

func.func @gather(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.gather' op indices must be integers}}
  %0 = "lumir.gather"(%x, %x) {axis = 0 : i64} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3x3xf32>
  return
}

// -----

func.func @gather_elements(%x: tensor<2x3xf32>, %i: tensor<2xi64>) {
  // expected-error@+1 {{'lumir.gather_elements' op input and indices must have one rank}}
  %0 = "lumir.gather_elements"(%x, %i) {axis = 0 : i64} : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<2xf32>
  return
}

// -----

func.func @gather_elements(%x: tensor<2x3xf32>, %i: tensor<2x4xi64>) {
  // expected-error@+1 {{'lumir.gather_elements' op indices must not exceed the input outside axis (found axis = 0}}
  %0 = "lumir.gather_elements"(%x, %i) {axis = 0 : i64} : (tensor<2x3xf32>, tensor<2x4xi64>) -> tensor<2x4xf32>
  return
}

// -----

func.func @gather_nd(%x: tensor<2x3xf32>, %i: tensor<2x3xi64>) {
  // expected-error@+1 {{'lumir.gather_nd' op index tuples must fit the input's rank (found depth = 3}}
  %0 = "lumir.gather_nd"(%x, %i) {batch_dims = 0 : i64} : (tensor<2x3xf32>, tensor<2x3xi64>) -> tensor<2xf32>
  return
}

// -----

func.func @scatter_elements(%x: tensor<2x3xf32>, %i: tensor<1x3xi64>) {
  // expected-error@+1 {{'lumir.scatter_elements' op indices and updates must have one shape}}
  %0 = "lumir.scatter_elements"(%x, %i, %x) {axis = 0 : i64, kind = "set"} : (tensor<2x3xf32>, tensor<1x3xi64>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @scatter_elements(%x: tensor<2x3xf32>, %i: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.scatter_elements' op kind must be one of set, add, mul, max, min (found kind = sub)}}
  %0 = "lumir.scatter_elements"(%x, %i, %x) {axis = 0 : i64, kind = "sub"} : (tensor<2x3xf32>, tensor<2x3xi32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @scatter_nd(%x: tensor<2x3xf32>, %i: tensor<1x1xi64>) {
  // expected-error@+1 {{'lumir.scatter_nd' op updates must have the shape of the slices}}
  %0 = "lumir.scatter_nd"(%x, %i, %x) {kind = "add"} : (tensor<2x3xf32>, tensor<1x1xi64>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @reduce(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.reduce' op kind must be one of sum, prod, max, min (found kind = mean)}}
  %0 = "lumir.reduce"(%x) {kind = "mean", axes = array<i64: 1>} : (tensor<2x3xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @reduce(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.reduce' op axes must be distinct (found axes = [1, -1])}}
  %0 = "lumir.reduce"(%x) {kind = "sum", axes = array<i64: 1, -1>} : (tensor<2x3xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @reduce(%x: tensor<2x3xi1>) {
  // expected-error@+1 {{'lumir.reduce' op a bool reduces by max or min (found kind = sum)}}
  %0 = "lumir.reduce"(%x) {kind = "sum", axes = array<i64: 1>} : (tensor<2x3xi1>) -> tensor<2xi1>
  return
}

// -----

func.func @arg_reduce(%x: tensor<2x0xf32>) {
  // expected-error@+1 {{'lumir.arg_reduce' op the reduced dimension must not be empty}}
  %0 = "lumir.arg_reduce"(%x) {kind = "max", axis = 1 : i64, last = false} : (tensor<2x0xf32>) -> tensor<2xi64>
  return
}

// -----

func.func @arg_reduce(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.arg_reduce' op result type must be the inferred one (found expected = [tensor<2xi64>], result = [tensor<2xi32>])}}
  %0 = "lumir.arg_reduce"(%x) {kind = "max", axis = 1 : i64, last = false} : (tensor<2x3xf32>) -> tensor<2xi32>
  return
}

// -----

func.func @window_reduce(%x: tensor<1x1x4x4xf32>) {
  // expected-error@+1 {{'lumir.window_reduce' op window must fit the padded input (found size = 4, window = 5}}
  %0 = "lumir.window_reduce"(%x) {channels_last = false, kind = "max", window = array<i64: 5, 1>, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, low = array<i64: 0, 0>, high = array<i64: 0, 0>} : (tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32>
  return
}

// -----

func.func @window_reduce(%x: tensor<1x1x4x4xf32>) {
  // expected-error@+1 {{'lumir.window_reduce' op strides and dilations must be positive}}
  %0 = "lumir.window_reduce"(%x) {channels_last = false, kind = "max", window = array<i64: 2, 2>, strides = array<i64: 0, 1>, dilations = array<i64: 1, 1>, low = array<i64: 0, 0>, high = array<i64: 0, 0>} : (tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32>
  return
}

// -----

func.func @window_reduce(%x: tensor<1x1x4x4xf32>) {
  // expected-error@+1 {{'lumir.window_reduce' op window must have one entry a spatial dimension (found window = [2])}}
  %0 = "lumir.window_reduce"(%x) {channels_last = false, kind = "max", window = array<i64: 2>, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, low = array<i64: 0, 0>, high = array<i64: 0, 0>} : (tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32>
  return
}

// -----

func.func @scan(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.scan' op kind must be sum, prod or max (found kind = min)}}
  %0 = "lumir.scan"(%x) {kind = "min", axis = 1 : i64, exclusive = false, reverse = false} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @top_k(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.top_k' op k must not exceed the last dimension (found k = 4, size = 3)}}
  %0:2 = "lumir.top_k"(%x) {k = 4 : i64, largest = true} : (tensor<2x3xf32>) -> (tensor<2x4xf32>, tensor<2x4xi64>)
  return
}

// -----

func.func @top_k(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.top_k' op needs 2 results (found results = 1)}}
  %0 = "lumir.top_k"(%x) {k = 1 : i64, largest = true} : (tensor<2x3xf32>) -> tensor<2x1xf32>
  return
}

// -----

func.func @contract(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.contract' op sizes of label 'b' must agree}}
  %0 = "lumir.contract"(%x, %x) {equation = "ab,bc->ac", to = f32} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @contract(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.contract' op equation must read "lhs,rhs->result" (found equation = ab->ab)}}
  %0 = "lumir.contract"(%x, %x) {equation = "ab->ab", to = f32} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @contract(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.contract' op a label may appear once in an operand}}
  %0 = "lumir.contract"(%x, %x) {equation = "aa,bc->bc", to = f32} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @contract(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.contract' op result labels must come from an operand}}
  %0 = "lumir.contract"(%x, %x) {equation = "ab,ab->c", to = f32} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @contract(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.contract' op a label that is summed must be in both operands}}
  %0 = "lumir.contract"(%x, %x) {equation = "ab,cb->a", to = f32} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @contract(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.contract' op lhs rank must equal its labels}}
  %0 = "lumir.contract"(%x, %x) {equation = "a,ab->ab", to = f32} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @conv(%x: tensor<1x4x4x4xf32>, %f: tensor<6x4x3x3xf32>) {
  // expected-error@+1 {{'lumir.conv' op channels must be groups * filter channels (found channels = 4, groups = 2}}
  %0 = "lumir.conv"(%x, %f) {channels_last = false, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, low = array<i64: 0, 0>, high = array<i64: 0, 0>, groups = 2 : i64, to = f32} : (tensor<1x4x4x4xf32>, tensor<6x4x3x3xf32>) -> tensor<1x6x2x2xf32>
  return
}

// -----

func.func @conv(%x: tensor<1x4x4x4xf32>, %f: tensor<5x2x3x3xf32>) {
  // expected-error@+1 {{'lumir.conv' op groups must divide the filters (found filters = 5, groups = 2)}}
  %0 = "lumir.conv"(%x, %f) {channels_last = false, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, low = array<i64: 0, 0>, high = array<i64: 0, 0>, groups = 2 : i64, to = f32} : (tensor<1x4x4x4xf32>, tensor<5x2x3x3xf32>) -> tensor<1x5x2x2xf32>
  return
}

// -----

func.func @softmax(%x: tensor<2x3xi32>) {
  // expected-error@+1 {{'lumir.softmax' op element type must be float (found type = i32)}}
  %0 = "lumir.softmax"(%x) {axis = 0 : i64, log = false} : (tensor<2x3xi32>) -> tensor<2x3xi32>
  return
}

// -----

func.func @softmax(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.softmax' op axis must be in -rank..rank-1 (found axis = -3, rank = 2)}}
  %0 = "lumir.softmax"(%x) {axis = -3 : i64, log = false} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @softmax(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.softmax' op needs the attribute 'axis' (an integer)}}
  %0 = "lumir.softmax"(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @softmax(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.softmax' op attribute 'axis' must be an integer (found axis = True)}}
  %0 = "lumir.softmax"(%x) {axis = true, log = false} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @normalize(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{'lumir.normalize' op attribute 'epsilon' must be a float (found epsilon = 1)}}
  %0 = "lumir.normalize"(%x) {axis = 1 : i64, epsilon = 1 : i64, center = true} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @attention(%q: tensor<1x4x5x8xf32>, %k: tensor<1x3x6x8xf32>) {
  // expected-error@+1 {{'lumir.attention' op key/value heads must agree and divide the query heads}}
  %0 = "lumir.attention"(%q, %k, %k) {scale = 1.0 : f64, causal = false, offset = 0 : i64, softcap = 0.0 : f64, window = 0 : i64} : (tensor<1x4x5x8xf32>, tensor<1x3x6x8xf32>, tensor<1x3x6x8xf32>) -> tensor<1x4x5x8xf32>
  return
}

// -----

func.func @attention(%q: tensor<1x4x5x8xf32>, %k: tensor<1x4x6x8xf32>) {
  // expected-error@+1 {{'lumir.attention' op head dimension and key length must agree}}
  %0 = "lumir.attention"(%q, %q, %k) {scale = 1.0 : f64, causal = false, offset = 0 : i64, softcap = 0.0 : f64, window = 0 : i64} : (tensor<1x4x5x8xf32>, tensor<1x4x5x8xf32>, tensor<1x4x6x8xf32>) -> tensor<1x4x5x8xf32>
  return
}

// -----

func.func @attention(%q: tensor<1x4x5x8xf32>, %m: tensor<6x5xi1>) {
  // expected-error@+1 {{'lumir.attention' op operand shapes must broadcast}}
  %0 = "lumir.attention"(%q, %q, %q, %m) {scale = 1.0 : f64, causal = false, offset = 0 : i64, softcap = 0.0 : f64, window = 0 : i64} : (tensor<1x4x5x8xf32>, tensor<1x4x5x8xf32>, tensor<1x4x5x8xf32>, tensor<6x5xi1>) -> tensor<1x4x5x8xf32>
  return
}

// -----

func.func @attention(%q: tensor<1x4x5x8xf32>, %m: tensor<5x5xi8>) {
  // expected-error@+1 {{'lumir.attention' op mask must be bool, float, int32 or int64}}
  %0 = "lumir.attention"(%q, %q, %q, %m) {scale = 1.0 : f64, causal = false, offset = 0 : i64, softcap = 0.0 : f64, window = 0 : i64} : (tensor<1x4x5x8xf32>, tensor<1x4x5x8xf32>, tensor<1x4x5x8xf32>, tensor<5x5xi8>) -> tensor<1x4x5x8xf32>
  return
}

// -----

func.func @attention(%q: tensor<2x4x5x8xf32>, %m: tensor<2x1x5x1xi32>) {
  // expected-error@+1 {{'lumir.attention' op numbers of keys must broadcast to [b, 1, 1, 1]}}
  %0 = "lumir.attention"(%q, %q, %q, %m) {scale = 1.0 : f64, causal = false, offset = 0 : i64, softcap = 0.0 : f64, window = 0 : i64} : (tensor<2x4x5x8xf32>, tensor<2x4x5x8xf32>, tensor<2x4x5x8xf32>, tensor<2x1x5x1xi32>) -> tensor<2x4x5x8xf32>
  return
}

// -----

func.func @attention(%q: tensor<1x4x5x8xf32>, %m: tensor<2x1x1x1xi64>) {
  // expected-error@+1 {{'lumir.attention' op numbers of keys must broadcast to [b, 1, 1, 1]}}
  %0 = "lumir.attention"(%q, %q, %q, %m) {scale = 1.0 : f64, causal = false, offset = 0 : i64, softcap = 0.0 : f64, window = 0 : i64} : (tensor<1x4x5x8xf32>, tensor<1x4x5x8xf32>, tensor<1x4x5x8xf32>, tensor<2x1x1x1xi64>) -> tensor<1x4x5x8xf32>
  return
}

// -----

func.func @attention(%q: tensor<1x4x5x8xf32>) {
  // expected-error@+1 {{'lumir.attention' op needs at least 3 operands (found operands = 2)}}
  %0 = "lumir.attention"(%q, %q) {scale = 1.0 : f64, causal = false, offset = 0 : i64, softcap = 0.0 : f64, window = 0 : i64} : (tensor<1x4x5x8xf32>, tensor<1x4x5x8xf32>) -> tensor<1x4x5x8xf32>
  return
}

// -----

func.func @load() {
  // expected-error@+1 {{'lumir.load' op needs the attribute 'weight' (a symbol)}}
  %0 = "lumir.load"() : () -> tensor<2xf32>
  return
}

// -----

func.func @constant() {
  // expected-error@+1 {{'lumir.constant' op value must be a dense attribute}}
  %0 = "lumir.constant"() {value = 1.0 : f32} : () -> tensor<f32>
  return
}

// -----

func.func @constant() {
  // expected-error@+1 {{'lumir.constant' op result type must be the inferred one}}
  %0 = "lumir.constant"() {value = dense<1.0> : tensor<2xf32>} : () -> tensor<3xf32>
  return
}

// -----

// expected-error@+1 {{'lumir.weight' op type must be a ranked tensor of static shape (found type = f32)}}
"lumir.weight"() {sym_name = "w", type = f32, path = "a", offset = 0 : i64} : () -> ()

// -----

// expected-error@+1 {{'lumir.weight' op offset must not be negative (found offset = -1)}}
"lumir.weight"() {sym_name = "w", type = tensor<2xf32>, path = "a", offset = -1 : i64} : () -> ()

// -----

// expected-error@+1 {{'lumir.code' op needs the attribute 'data' (a string)}}
"lumir.code"() {sym_name = "k", target = "cpu", format = "elf"} : () -> ()

// -----

// expected-error@+1 {{'lumir.derived_weight' op body must yield the type (found type = tensor<3xf32>, yielded = tensor<2xf32>)}}
"lumir.derived_weight"() ({
  %0 = "lumir.constant"() {value = dense<1.0> : tensor<2xf32>} : () -> tensor<2xf32>
  "lumir.yield"(%0) : (tensor<2xf32>) -> ()
}) {sym_name = "w", type = tensor<3xf32>} : () -> ()

// -----

// expected-error@+1 {{'lumir.derived_weight' op body must end with lumir.yield of one tensor}}
"lumir.derived_weight"() ({
  "lumir.yield"() : () -> ()
}) {sym_name = "w", type = tensor<3xf32>} : () -> ()

// -----

"lumir.derived_weight"() ({
  %0 = "lumir.constant"() {value = dense<1.0> : tensor<2xf32>} : () -> tensor<2xf32>
  // expected-error@+1 {{'lumir.yield' op needs 0 results (found results = 1)}}
  %1 = "lumir.yield"(%0) : (tensor<2xf32>) -> tensor<2xf32>
}) {sym_name = "w", type = tensor<2xf32>} : () -> ()

// -----

// expected-error@+1 {{'lumir.derived_weight' op body must be one block without arguments}}
"lumir.derived_weight"() ({
^bb0(%0: tensor<3xf32>):
  "lumir.yield"(%0) : (tensor<3xf32>) -> ()
}) {sym_name = "w", type = tensor<3xf32>} : () -> ()

// -----

func.func @conv(%x: tensor<1x4x4x4xf32>, %f: tensor<6x4x3x3xi8>) {
  // expected-error@+1 {{'lumir.conv' op input and filter must share one element type}}
  %0 = "lumir.conv"(%x, %f) {channels_last = false, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, low = array<i64: 0, 0>, high = array<i64: 0, 0>, groups = 1 : i64, to = f32} : (tensor<1x4x4x4xf32>, tensor<6x4x3x3xi8>) -> tensor<1x6x2x2xf32>
  return
}

// -----

func.func @dequantize(%x: tensor<2x3xi32>, %s: tensor<f32>, %z: tensor<i32>) {
  // expected-error@+1 {{'lumir.dequantize' op input must be an integer of at most 16 bits (found type = i32)}}
  %0 = "lumir.dequantize"(%x, %s, %z) : (tensor<2x3xi32>, tensor<f32>, tensor<i32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @dequantize(%x: tensor<2x3xi8>, %s: tensor<f32>, %z: tensor<ui8>) {
  // expected-error@+1 {{'lumir.dequantize' op zero must have the input's element type}}
  %0 = "lumir.dequantize"(%x, %s, %z) : (tensor<2x3xi8>, tensor<f32>, tensor<ui8>) -> tensor<2x3xf32>
  return
}

// -----

func.func @dequantize(%x: tensor<2x3xi8>, %s: tensor<f16>, %z: tensor<i8>) {
  // expected-error@+1 {{'lumir.dequantize' op scale must be f32 (found type = f16)}}
  %0 = "lumir.dequantize"(%x, %s, %z) : (tensor<2x3xi8>, tensor<f16>, tensor<i8>) -> tensor<2x3xf32>
  return
}

// -----

func.func @dequantize(%x: tensor<1x3xi8>, %s: tensor<2x1xf32>, %z: tensor<i8>) {
  // expected-error@+1 {{'lumir.dequantize' op scale and zero must broadcast to the input}}
  %0 = "lumir.dequantize"(%x, %s, %z) : (tensor<1x3xi8>, tensor<2x1xf32>, tensor<i8>) -> tensor<1x3xf32>
  return
}

// -----

func.func @size() {
  // expected-error@+1 {{'lumir.size' op to must be tensor<i64> or index (found to = tensor<i32>)}}
  %0 = "lumir.size"() {to = tensor<i32>, value = "seq"} : () -> tensor<i32>
  return
}

// -----

func.func @size_that_is_no_expression() {
  // expected-error@+1 {{'lumir.size' op 'seq +' is no size}}
  %0 = "lumir.size"() {to = index, value = "seq +"} : () -> index
  return
}

// -----

func.func @dimension_without_size(%x: tensor<?x3xf32>) {
  // expected-error@+1 {{'lumir.exp' op operands and results must be ranked tensors whose every size is given (found type = tensor<?x3xf32>)}}
  %0 = "lumir.exp"(%x) : (tensor<?x3xf32>) -> tensor<?x3xf32>
  return
}

// -----

func.func @sizes_that_differ(%x: tensor<?x3xf32, ["seq"]>) {
  // expected-error@+1 {{'lumir.reshape' op reshape must keep the number of elements (found input = tensor<?x3xf32, ["seq"]>, shape = [3*seq + 1])}}
  %0 = "lumir.reshape"(%x) {shape = ["3*seq + 1"]} : (tensor<?x3xf32, ["seq"]>) -> tensor<?xf32, ["3*seq + 1"]>
  return
}

// -----

func.func @result_of_another_size(%x: tensor<?x3xf32, ["seq"]>) {
  // expected-error@+1 {{'lumir.exp' op result type must be the inferred one (found expected = [tensor<?x3xf32, ["seq"]>], result = [tensor<?x3xf32, ["past"]>])}}
  %0 = "lumir.exp"(%x) : (tensor<?x3xf32, ["seq"]>) -> tensor<?x3xf32, ["past"]>
  return
}

// -----

func.func @bind(%x: tensor<1xi64>) {
  // expected-error@+1 {{'lumir.bind' op value must be tensor<i64> (found value = tensor<1xi64>)}}
  "lumir.bind"(%x) {symbol = "count"} : (tensor<1xi64>) -> ()
  return
}
