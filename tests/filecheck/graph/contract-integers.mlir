// RUN: lumir-opt %s --lumir-contract-integers | filecheck %s

"lumir.weight"() {sym_name = "w", type = tensor<300x4xi8>, path = "model.safetensors", offset = 0 : i64} : () -> ()
"lumir.weight"() {sym_name = "s", type = tensor<4xf32>, path = "model.safetensors", offset = 1200 : i64} : () -> ()

// CHECK-LABEL: func.func @main
// CHECK-SAME:    %[[X:.*]]: tensor<2x300xui8>
// CHECK:         %[[W:.*]] = "lumir.load"() {weight = @w}
// CHECK:         %[[SUM:.*]] = "lumir.contract"(%[[X]], %[[W]]) {equation = "mk,kn->mn", to = i32} : (tensor<2x300xui8>, tensor<300x4xi8>) -> tensor<2x4xi32>
// CHECK:         %[[WIDE:.*]] = "lumir.cast"(%[[W]]) {saturate = true, to = i32}
// CHECK:         %[[COLUMNS:.*]] = "lumir.reduce"(%[[WIDE]]) {axes = array<i64: 0>, kind = "sum"}
// CHECK:         %[[OFFSET:.*]] = "lumir.mul"({{.*}}) : (tensor<1x4xi32>, tensor<i32>) -> tensor<1x4xi32>
// CHECK:         %[[RIGHT:.*]] = "lumir.sub"(%[[SUM]], %[[OFFSET]])
// CHECK:         %[[REAL:.*]] = "lumir.cast"(%[[RIGHT]]) {saturate = true, to = f32}
// CHECK:         "lumir.mul"(%[[REAL]], {{.*}})
// CHECK-NOT:     "lumir.dequantize"
func.func @main(%x: tensor<2x300xui8>) -> tensor<2x4xf32> {
  %0 = "lumir.constant"() {value = dense<0.1> : tensor<f32>} : () -> tensor<f32>
  %1 = "lumir.constant"() {value = dense<7> : tensor<ui8>} : () -> tensor<ui8>
  %2 = "lumir.constant"() {value = dense<0> : tensor<i8>} : () -> tensor<i8>
  %3 = "lumir.load"() {weight = @w} : () -> tensor<300x4xi8>
  %4 = "lumir.load"() {weight = @s} : () -> tensor<4xf32>
  %5 = "lumir.dequantize"(%x, %0, %1) : (tensor<2x300xui8>, tensor<f32>, tensor<ui8>) -> tensor<2x300xf32>
  %6 = "lumir.dequantize"(%3, %4, %2) : (tensor<300x4xi8>, tensor<4xf32>, tensor<i8>) -> tensor<300x4xf32>
  %7 = "lumir.contract"(%5, %6) {equation = "mk,kn->mn", to = f32} : (tensor<2x300xf32>, tensor<300x4xf32>) -> tensor<2x4xf32>
  return %7 : tensor<2x4xf32>
}
