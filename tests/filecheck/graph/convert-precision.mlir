// RUN: lumir-opt %s --lumir-convert-precision | filecheck %s
// RUN: lumir-opt %s --lumir-convert-precision=to=bf16 | filecheck %s

"lumir.weight"() {sym_name = "w", type = tensor<8x4xf32>, path = "model.safetensors", offset = 0 : i64} : () -> ()

// CHECK:       sym_name = "w.cast", type = tensor<8x4x[[T:b?f16]]>
// CHECK-LABEL: func.func @main
// CHECK-SAME:    %[[X:.*]]: tensor<2x8xf32>, %[[POSITION:.*]]: tensor<2x1xi64>) -> tensor<2x4xf32>
// CHECK:         %[[SHORT:.*]] = "lumir.cast"(%[[X]]) {saturate = true, to = [[T]]}
// CHECK:         %[[W:.*]] = "lumir.load"() {weight = @w.cast} : () -> tensor<8x4x[[T]]>
// CHECK:         %[[Y:.*]] = "lumir.contract"(%[[SHORT]], %[[W]]) {equation = "mk,kn->mn", to = [[T]]}
// CHECK:         %[[ANGLE:.*]] = "lumir.cast"(%[[POSITION]]) {saturate = true, to = f32}
// CHECK:         %[[COS:.*]] = "lumir.cos"(%[[ANGLE]]) : (tensor<2x1xf32>) -> tensor<2x1xf32>
// CHECK:         %[[FACTOR:.*]] = "lumir.cast"(%[[COS]]) {saturate = true, to = [[T]]}
// CHECK:         %[[Z:.*]] = "lumir.mul"(%[[Y]], %[[FACTOR]])
// CHECK:         %[[WIDE:.*]] = "lumir.cast"(%[[Z]]) {saturate = true, to = f32}
// CHECK:         return %[[WIDE]]
func.func @main(%x: tensor<2x8xf32>, %position: tensor<2x1xi64>) -> tensor<2x4xf32> {
  %0 = "lumir.load"() {weight = @w} : () -> tensor<8x4xf32>
  %1 = "lumir.contract"(%x, %0) {equation = "mk,kn->mn", to = f32} : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32>
  %2 = "lumir.cast"(%position) {saturate = true, to = f32} : (tensor<2x1xi64>) -> tensor<2x1xf32>
  %3 = "lumir.cos"(%2) : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %4 = "lumir.mul"(%1, %3) : (tensor<2x4xf32>, tensor<2x1xf32>) -> tensor<2x4xf32>
  return %4 : tensor<2x4xf32>
}
