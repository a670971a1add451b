// RUN: lumir-opt %s | lumir-opt | filecheck %s
// RUN: lumir-opt %s --emit-bytecode | lumir-opt | filecheck %s

// Every op, as it is printed: the text parses, verifies, and comes back the same.

// CHECK: "lumir.weight"() {offset = 64 : i64, path = "model.safetensors", sym_name = "w", type = tensor<4x6xbf16>} : () -> ()
"lumir.weight"() {offset = 64 : i64, path = "model.safetensors", sym_name = "w", type = tensor<4x6xbf16>} : () -> ()
// CHECK: "lumir.derived_weight"() ({
"lumir.derived_weight"() ({
  // CHECK: {{%.*}} = "lumir.load"() {weight = @w} : () -> tensor<4x6xbf16>
  %0 = "lumir.load"() {weight = @w} : () -> tensor<4x6xbf16>
  // CHECK: {{%.*}} = "lumir.transpose"({{%.*}}) {permutation = array<i64: 1, 0>} : (tensor<4x6xbf16>) -> tensor<6x4xbf16>
  %1 = "lumir.transpose"(%0) {permutation = array<i64: 1, 0>} : (tensor<4x6xbf16>) -> tensor<6x4xbf16>
  // CHECK: "lumir.yield"({{%.*}}) : (tensor<6x4xbf16>) -> ()
  "lumir.yield"(%1) : (tensor<6x4xbf16>) -> ()
}) {sym_name = "w.transpose", type = tensor<6x4xbf16>} : () -> ()
// CHECK: "lumir.code"() {data = ".version 8.6", format = "ptx", sym_name = "k0", target = "sm_90a"} : () -> ()
"lumir.code"() {data = ".version 8.6", format = "ptx", sym_name = "k0", target = "sm_90a"} : () -> ()
func.func @ops(%arg0: tensor<2x3x4xf32>, %arg1: tensor<3x1xf32>, %arg2: tensor<2x3x4xi32>, %arg3: tensor<2x3x4xi1>, %arg4: tensor<f32>, %arg5: tensor<1x4x5x8xf16>, %arg6: tensor<1x2x6x8xf16>, %arg7: tensor<1x4x9x9xf32>, %arg8: tensor<6x2x3x3xf32>, %arg9: tensor<5xi64>, %arg10: tensor<2x3x1xi64>, %arg11: tensor<2x3x1xf32>) {
  // CHECK: {{%.*}} = "lumir.abs"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %0 = "lumir.abs"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.neg"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %1 = "lumir.neg"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.sign"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %2 = "lumir.sign"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.exp"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %3 = "lumir.exp"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.log"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %4 = "lumir.log"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.log1p"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %5 = "lumir.log1p"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.expm1"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %6 = "lumir.expm1"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.sqrt"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %7 = "lumir.sqrt"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.rsqrt"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %8 = "lumir.rsqrt"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.sin"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %9 = "lumir.sin"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.cos"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %10 = "lumir.cos"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.tan"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %11 = "lumir.tan"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.asin"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %12 = "lumir.asin"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.acos"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %13 = "lumir.acos"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.atan"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %14 = "lumir.atan"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.sinh"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %15 = "lumir.sinh"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.cosh"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %16 = "lumir.cosh"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.tanh"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %17 = "lumir.tanh"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.asinh"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %18 = "lumir.asinh"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.acosh"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %19 = "lumir.acosh"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.atanh"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %20 = "lumir.atanh"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.erf"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %21 = "lumir.erf"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.sigmoid"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %22 = "lumir.sigmoid"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.floor"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %23 = "lumir.floor"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.ceil"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %24 = "lumir.ceil"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.round"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %25 = "lumir.round"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.trunc"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %26 = "lumir.trunc"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.isnan"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xi1>
  %27 = "lumir.isnan"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xi1>
  // CHECK: {{%.*}} = "lumir.isinf"({{%.*}}) : (tensor<2x3x4xf32>) -> tensor<2x3x4xi1>
  %28 = "lumir.isinf"(%arg0) : (tensor<2x3x4xf32>) -> tensor<2x3x4xi1>
  // CHECK: {{%.*}} = "lumir.not"({{%.*}}) : (tensor<2x3x4xi1>) -> tensor<2x3x4xi1>
  %29 = "lumir.not"(%arg3) : (tensor<2x3x4xi1>) -> tensor<2x3x4xi1>
  // CHECK: {{%.*}} = "lumir.add"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  %30 = "lumir.add"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.sub"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  %31 = "lumir.sub"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.mul"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  %32 = "lumir.mul"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.div"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  %33 = "lumir.div"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.mod"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  %34 = "lumir.mod"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.fmod"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  %35 = "lumir.fmod"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.pow"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  %36 = "lumir.pow"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.max"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  %37 = "lumir.max"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.min"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  %38 = "lumir.min"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.and"({{%.*}}, {{%.*}}) : (tensor<2x3x4xi1>, tensor<2x3x4xi1>) -> tensor<2x3x4xi1>
  %39 = "lumir.and"(%arg3, %arg3) : (tensor<2x3x4xi1>, tensor<2x3x4xi1>) -> tensor<2x3x4xi1>
  // CHECK: {{%.*}} = "lumir.or"({{%.*}}, {{%.*}}) : (tensor<2x3x4xi1>, tensor<2x3x4xi1>) -> tensor<2x3x4xi1>
  %40 = "lumir.or"(%arg3, %arg3) : (tensor<2x3x4xi1>, tensor<2x3x4xi1>) -> tensor<2x3x4xi1>
  // CHECK: {{%.*}} = "lumir.xor"({{%.*}}, {{%.*}}) : (tensor<2x3x4xi32>, tensor<2x3x4xi32>) -> tensor<2x3x4xi32>
  %41 = "lumir.xor"(%arg2, %arg2) : (tensor<2x3x4xi32>, tensor<2x3x4xi32>) -> tensor<2x3x4xi32>
  // CHECK: {{%.*}} = "lumir.shl"({{%.*}}, {{%.*}}) : (tensor<2x3x4xi32>, tensor<2x3x4xi32>) -> tensor<2x3x4xi32>
  %42 = "lumir.shl"(%arg2, %arg2) : (tensor<2x3x4xi32>, tensor<2x3x4xi32>) -> tensor<2x3x4xi32>
  // CHECK: {{%.*}} = "lumir.shr"({{%.*}}, {{%.*}}) : (tensor<2x3x4xi32>, tensor<2x3x4xi32>) -> tensor<2x3x4xi32>
  %43 = "lumir.shr"(%arg2, %arg2) : (tensor<2x3x4xi32>, tensor<2x3x4xi32>) -> tensor<2x3x4xi32>
  // CHECK: {{%.*}} = "lumir.eq"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xi1>
  %44 = "lumir.eq"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xi1>
  // CHECK: {{%.*}} = "lumir.ne"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xi1>
  %45 = "lumir.ne"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xi1>
  // CHECK: {{%.*}} = "lumir.lt"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xi1>
  %46 = "lumir.lt"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xi1>
  // CHECK: {{%.*}} = "lumir.le"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xi1>
  %47 = "lumir.le"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xi1>
  // CHECK: {{%.*}} = "lumir.gt"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xi1>
  %48 = "lumir.gt"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xi1>
  // CHECK: {{%.*}} = "lumir.ge"({{%.*}}, {{%.*}}) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xi1>
  %49 = "lumir.ge"(%arg0, %arg1) : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xi1>
  // CHECK: {{%.*}} = "lumir.select"({{%.*}}, {{%.*}}, {{%.*}}) : (tensor<2x3x4xi1>, tensor<2x3x4xf32>, tensor<f32>) -> tensor<2x3x4xf32>
  %50 = "lumir.select"(%arg3, %arg0, %arg4) : (tensor<2x3x4xi1>, tensor<2x3x4xf32>, tensor<f32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.cast"({{%.*}}) {saturate = false, to = f8E4M3FN} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf8E4M3FN>
  %51 = "lumir.cast"(%arg0) {saturate = false, to = f8E4M3FN} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf8E4M3FN>
  // CHECK: {{%.*}} = "lumir.reshape"({{%.*}}) {shape = array<i64: 6, 4>} : (tensor<2x3x4xf32>) -> tensor<6x4xf32>
  %52 = "lumir.reshape"(%arg0) {shape = array<i64: 6, 4>} : (tensor<2x3x4xf32>) -> tensor<6x4xf32>
  // CHECK: {{%.*}} = "lumir.transpose"({{%.*}}) {permutation = array<i64: 2, 0, 1>} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
  %53 = "lumir.transpose"(%arg0) {permutation = array<i64: 2, 0, 1>} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
  // CHECK: {{%.*}} = "lumir.broadcast"({{%.*}}) {shape = array<i64: 2, 3, 4>} : (tensor<3x1xf32>) -> tensor<2x3x4xf32>
  %54 = "lumir.broadcast"(%arg1) {shape = array<i64: 2, 3, 4>} : (tensor<3x1xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.slice"({{%.*}}) {sizes = array<i64: 1, 2, 2>, starts = array<i64: 1, 0, 3>, steps = array<i64: 1, 2, -2>} : (tensor<2x3x4xf32>) -> tensor<1x2x2xf32>
  %55 = "lumir.slice"(%arg0) {sizes = array<i64: 1, 2, 2>, starts = array<i64: 1, 0, 3>, steps = array<i64: 1, 2, -2>} : (tensor<2x3x4xf32>) -> tensor<1x2x2xf32>
  // CHECK: {{%.*}} = "lumir.pad"({{%.*}}, {{%.*}}) {high = array<i64: 2, 0, 0>, interior = array<i64: 0, 0, 1>, low = array<i64: 0, 1, -1>, mode = "constant"} : (tensor<2x3x4xf32>, tensor<f32>) -> tensor<4x4x6xf32>
  %56 = "lumir.pad"(%arg0, %arg4) {high = array<i64: 2, 0, 0>, interior = array<i64: 0, 0, 1>, low = array<i64: 0, 1, -1>, mode = "constant"} : (tensor<2x3x4xf32>, tensor<f32>) -> tensor<4x4x6xf32>
  // CHECK: {{%.*}} = "lumir.concat"({{%.*}}, {{%.*}}) {axis = -1 : i64} : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x8xf32>
  %57 = "lumir.concat"(%arg0, %arg0) {axis = -1 : i64} : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x8xf32>
  // CHECK: {{%.*}} = "lumir.iota"() {axis = 1 : i64, type = tensor<2x3xi64>} : () -> tensor<2x3xi64>
  %58 = "lumir.iota"() {axis = 1 : i64, type = tensor<2x3xi64>} : () -> tensor<2x3xi64>
  // CHECK: {{%.*}} = "lumir.gather"({{%.*}}, {{%.*}}) {axis = 1 : i64} : (tensor<2x3x4xf32>, tensor<5xi64>) -> tensor<2x5x4xf32>
  %59 = "lumir.gather"(%arg0, %arg9) {axis = 1 : i64} : (tensor<2x3x4xf32>, tensor<5xi64>) -> tensor<2x5x4xf32>
  // CHECK: {{%.*}} = "lumir.gather_elements"({{%.*}}, {{%.*}}) {axis = 2 : i64} : (tensor<2x3x4xf32>, tensor<2x3x1xi64>) -> tensor<2x3x1xf32>
  %60 = "lumir.gather_elements"(%arg0, %arg10) {axis = 2 : i64} : (tensor<2x3x4xf32>, tensor<2x3x1xi64>) -> tensor<2x3x1xf32>
  // CHECK: {{%.*}} = "lumir.gather_nd"({{%.*}}, {{%.*}}) {batch_dims = 1 : i64} : (tensor<2x3x4xf32>, tensor<2x3x1xi64>) -> tensor<2x3x4xf32>
  %61 = "lumir.gather_nd"(%arg0, %arg10) {batch_dims = 1 : i64} : (tensor<2x3x4xf32>, tensor<2x3x1xi64>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.scatter_elements"({{%.*}}, {{%.*}}, {{%.*}}) {axis = 2 : i64, kind = "add"} : (tensor<2x3x4xf32>, tensor<2x3x1xi64>, tensor<2x3x1xf32>) -> tensor<2x3x4xf32>
  %62 = "lumir.scatter_elements"(%arg0, %arg10, %arg11) {axis = 2 : i64, kind = "add"} : (tensor<2x3x4xf32>, tensor<2x3x1xi64>, tensor<2x3x1xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.broadcast"({{%.*}}) {shape = array<i64: 2, 3, 4, 9, 9>} : (tensor<f32>) -> tensor<2x3x4x9x9xf32>
  %63 = "lumir.broadcast"(%arg4) {shape = array<i64: 2, 3, 4, 9, 9>} : (tensor<f32>) -> tensor<2x3x4x9x9xf32>
  // CHECK: {{%.*}} = "lumir.scatter_nd"({{%.*}}, {{%.*}}, {{%.*}}) {kind = "max"} : (tensor<1x4x9x9xf32>, tensor<2x3x1xi64>, tensor<2x3x4x9x9xf32>) -> tensor<1x4x9x9xf32>
  %64 = "lumir.scatter_nd"(%arg7, %arg10, %63) {kind = "max"} : (tensor<1x4x9x9xf32>, tensor<2x3x1xi64>, tensor<2x3x4x9x9xf32>) -> tensor<1x4x9x9xf32>
  // CHECK: {{%.*}} = "lumir.reduce"({{%.*}}) {axes = array<i64: 0, 2>, kind = "sum"} : (tensor<2x3x4xf32>) -> tensor<3xf32>
  %65 = "lumir.reduce"(%arg0) {axes = array<i64: 0, 2>, kind = "sum"} : (tensor<2x3x4xf32>) -> tensor<3xf32>
  // CHECK: {{%.*}} = "lumir.arg_reduce"({{%.*}}) {axis = 1 : i64, kind = "max", last = true} : (tensor<2x3x4xf32>) -> tensor<2x4xi64>
  %66 = "lumir.arg_reduce"(%arg0) {axis = 1 : i64, kind = "max", last = true} : (tensor<2x3x4xf32>) -> tensor<2x4xi64>
  // CHECK: {{%.*}} = "lumir.window_reduce"({{%.*}}) {channels_last = false, dilations = array<i64: 1, 1>, high = array<i64: 1, 1>, kind = "max", low = array<i64: 1, 1>, strides = array<i64: 2, 2>, window = array<i64: 3, 3>} : (tensor<1x4x9x9xf32>) -> tensor<1x4x5x5xf32>
  %67 = "lumir.window_reduce"(%arg7) {channels_last = false, dilations = array<i64: 1, 1>, high = array<i64: 1, 1>, kind = "max", low = array<i64: 1, 1>, strides = array<i64: 2, 2>, window = array<i64: 3, 3>} : (tensor<1x4x9x9xf32>) -> tensor<1x4x5x5xf32>
  // CHECK: {{%.*}} = "lumir.scan"({{%.*}}) {axis = 1 : i64, exclusive = true, kind = "prod", reverse = false} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %68 = "lumir.scan"(%arg0) {axis = 1 : i64, exclusive = true, kind = "prod", reverse = false} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}}:2 = "lumir.top_k"({{%.*}}) {k = 2 : i64, largest = true} : (tensor<2x3x4xf32>) -> (tensor<2x3x2xf32>, tensor<2x3x2xi64>)
  %69:2 = "lumir.top_k"(%arg0) {k = 2 : i64, largest = true} : (tensor<2x3x4xf32>) -> (tensor<2x3x2xf32>, tensor<2x3x2xi64>)
  // CHECK: {{%.*}} = "lumir.contract"({{%.*}}, {{%.*}}) {equation = "abk,abk->ab", to = i32} : (tensor<2x3x4xi32>, tensor<2x3x4xi32>) -> tensor<2x3xi32>
  %70 = "lumir.contract"(%arg2, %arg2) {equation = "abk,abk->ab", to = i32} : (tensor<2x3x4xi32>, tensor<2x3x4xi32>) -> tensor<2x3xi32>
  // CHECK: {{%.*}} = "lumir.conv"({{%.*}}, {{%.*}}) {channels_last = false, dilations = array<i64: 1, 2>, groups = 2 : i64, high = array<i64: 0, 2>, low = array<i64: 1, 2>, strides = array<i64: 2, 1>, to = f32} : (tensor<1x4x9x9xf32>, tensor<6x2x3x3xf32>) -> tensor<1x6x4x9xf32>
  %71 = "lumir.conv"(%arg7, %arg8) {channels_last = false, dilations = array<i64: 1, 2>, groups = 2 : i64, high = array<i64: 0, 2>, low = array<i64: 1, 2>, strides = array<i64: 2, 1>, to = f32} : (tensor<1x4x9x9xf32>, tensor<6x2x3x3xf32>) -> tensor<1x6x4x9xf32>
  // CHECK: {{%.*}} = "lumir.softmax"({{%.*}}) {axis = -1 : i64, log = true} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %72 = "lumir.softmax"(%arg0) {axis = -1 : i64, log = true} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.normalize"({{%.*}}) {axis = 1 : i64, center = false, epsilon = 1.000000e-05 : f64} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %73 = "lumir.normalize"(%arg0) {axis = 1 : i64, center = false, epsilon = 1.000000e-05 : f64} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  // CHECK: {{%.*}} = "lumir.attention"({{%.*}}, {{%.*}}, {{%.*}}) {causal = true, offset = 1 : i64, scale = 1.250000e-01 : f64, softcap = 3.000000e+01 : f64, window = 0 : i64} : (tensor<1x4x5x8xf16>, tensor<1x2x6x8xf16>, tensor<1x2x6x8xf16>) -> tensor<1x4x5x8xf16>
  %74 = "lumir.attention"(%arg5, %arg6, %arg6) {causal = true, offset = 1 : i64, scale = 1.250000e-01 : f64, softcap = 3.000000e+01 : f64, window = 0 : i64} : (tensor<1x4x5x8xf16>, tensor<1x2x6x8xf16>, tensor<1x2x6x8xf16>) -> tensor<1x4x5x8xf16>
  // CHECK: {{%.*}} = "lumir.constant"() {value = dense<true> : tensor<5x6xi1>} : () -> tensor<5x6xi1>
  %75 = "lumir.constant"() {value = dense<true> : tensor<5x6xi1>} : () -> tensor<5x6xi1>
  // CHECK: {{%.*}} = "lumir.attention"({{%.*}}, {{%.*}}, {{%.*}}, {{%.*}}) {causal = false, offset = 0 : i64, scale = 1.250000e-01 : f64, softcap = 0.000000e+00 : f64, window = 0 : i64} : (tensor<1x4x5x8xf16>, tensor<1x2x6x8xf16>, tensor<1x2x6x8xf16>, tensor<5x6xi1>) -> tensor<1x4x5x8xf16>
  %76 = "lumir.attention"(%arg5, %arg6, %arg6, %75) {causal = false, offset = 0 : i64, scale = 1.250000e-01 : f64, softcap = 0.000000e+00 : f64, window = 0 : i64} : (tensor<1x4x5x8xf16>, tensor<1x2x6x8xf16>, tensor<1x2x6x8xf16>, tensor<5x6xi1>) -> tensor<1x4x5x8xf16>
  // CHECK: {{%.*}} = "lumir.load"() {weight = @w.transpose} : () -> tensor<6x4xbf16>
  %77 = "lumir.load"() {weight = @w.transpose} : () -> tensor<6x4xbf16>
  // CHECK: {{%.*}} = "lumir.constant"() {value = dense<7> : tensor<3x1xi8>} : () -> tensor<3x1xi8>
  %78 = "lumir.constant"() {value = dense<7> : tensor<3x1xi8>} : () -> tensor<3x1xi8>
  // CHECK: {{%.*}} = "lumir.cast"({{%.*}}) {saturate = true, to = i8} : (tensor<2x3x4xi32>) -> tensor<2x3x4xi8>
  %79 = "lumir.cast"(%arg2) {saturate = true, to = i8} : (tensor<2x3x4xi32>) -> tensor<2x3x4xi8>
  // CHECK: {{%.*}} = "lumir.dequantize"({{%.*}}, {{%.*}}, {{%.*}}) : (tensor<2x3x4xi8>, tensor<3x1xf32>, tensor<3x1xi8>) -> tensor<2x3x4xf32>
  %80 = "lumir.dequantize"(%79, %arg1, %78) : (tensor<2x3x4xi8>, tensor<3x1xf32>, tensor<3x1xi8>) -> tensor<2x3x4xf32>
  return
}

// Dimensions that are not fixed name their sizes, one expression for each `?`.
func.func @sizes(%arg0: tensor<?x?x8xf32, ["batch", "seq"]>, %arg1: tensor<?x?x8xf32, ["batch", "past"]>) {
  // CHECK: {{%.*}} = "lumir.size"() {to = tensor<i64>, value = "past + seq"} : () -> tensor<i64>
  %0 = "lumir.size"() {to = tensor<i64>, value = "past + seq"} : () -> tensor<i64>
  // CHECK: {{%.*}} = "lumir.size"() {to = index, value = 3 : i64} : () -> index
  %1 = "lumir.size"() {to = index, value = 3 : i64} : () -> index
  // CHECK: {{%.*}} = "lumir.reshape"({{%.*}}) {shape = ["batch*seq", 8]} : (tensor<?x?x8xf32, ["batch", "seq"]>) -> tensor<?x8xf32, ["batch*seq"]>
  %2 = "lumir.reshape"(%arg0) {shape = ["batch*seq", 8 : i64]} : (tensor<?x?x8xf32, ["batch", "seq"]>) -> tensor<?x8xf32, ["batch*seq"]>
  // CHECK: {{%.*}} = "lumir.concat"({{%.*}}, {{%.*}}) {axis = 1 : i64} : (tensor<?x?x8xf32, ["batch", "seq"]>, tensor<?x?x8xf32, ["batch", "past"]>) -> tensor<?x?x8xf32, ["batch", "past + seq"]>
  %3 = "lumir.concat"(%arg0, %arg1) {axis = 1 : i64} : (tensor<?x?x8xf32, ["batch", "seq"]>, tensor<?x?x8xf32, ["batch", "past"]>) -> tensor<?x?x8xf32, ["batch", "past + seq"]>
  // CHECK: {{%.*}} = "lumir.slice"({{%.*}}) {sizes = ["batch", "seq", 8], starts = [0, "past", 0], steps = array<i64: 1, 1, 1>} : (tensor<?x?x8xf32, ["batch", "past + seq"]>) -> tensor<?x?x8xf32, ["batch", "seq"]>
  %4 = "lumir.slice"(%3) {sizes = ["batch", "seq", 8 : i64], starts = [0 : i64, "past", 0 : i64], steps = array<i64: 1, 1, 1>} : (tensor<?x?x8xf32, ["batch", "past + seq"]>) -> tensor<?x?x8xf32, ["batch", "seq"]>
  // CHECK: {{%.*}} = "lumir.contract"({{%.*}}, {{%.*}}) {equation = "bmk,bnk->bmn", to = f32} : (tensor<?x?x8xf32, ["batch", "seq"]>, tensor<?x?x8xf32, ["batch", "past + seq"]>) -> tensor<?x?x?xf32, ["batch", "seq", "past + seq"]>
  %5 = "lumir.contract"(%arg0, %3) {equation = "bmk,bnk->bmn", to = f32} : (tensor<?x?x8xf32, ["batch", "seq"]>, tensor<?x?x8xf32, ["batch", "past + seq"]>) -> tensor<?x?x?xf32, ["batch", "seq", "past + seq"]>
  // CHECK: {{%.*}} = "lumir.add"({{%.*}}, {{%.*}}) : (tensor<?x?x8xf32, ["batch", "seq"]>, tensor<?x?x8xf32, ["batch", "seq"]>) -> tensor<?x?x8xf32, ["batch", "seq"]>
  %6 = "lumir.add"(%arg0, %4) : (tensor<?x?x8xf32, ["batch", "seq"]>, tensor<?x?x8xf32, ["batch", "seq"]>) -> tensor<?x?x8xf32, ["batch", "seq"]>
  // CHECK: "lumir.bind"({{%.*}}) {symbol = "count"} : (tensor<i64>) -> ()
  "lumir.bind"(%0) {symbol = "count"} : (tensor<i64>) -> ()
  return
}
