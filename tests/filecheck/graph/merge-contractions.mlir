// RUN: lumir-opt %s --lumir-merge-contractions | filecheck %s

"lumir.weight"() {sym_name = "q", type = tensor<8x4xf32>, path = "model.safetensors", offset = 0 : i64} : () -> ()
"lumir.weight"() {sym_name = "k", type = tensor<8x2xf32>, path = "model.safetensors", offset = 128 : i64} : () -> ()

// CHECK:       "lumir.concat"
// CHECK:       sym_name = "q.concat", type = tensor<8x6xf32>
// CHECK-LABEL: func.func @main
// CHECK-SAME:    %[[X:.*]]: tensor<2x8xf32>
// CHECK-NEXT:    %[[W:.*]] = "lumir.load"() {weight = @q.concat}
// CHECK-NEXT:    %[[Y:.*]] = "lumir.contract"(%[[X]], %[[W]]) {equation = "mk,kn->mn", to = f32}
// CHECK-NEXT:    %[[Q:.*]] = "lumir.slice"(%[[Y]]) {sizes = array<i64: 2, 4>, starts = array<i64: 0, 0>, steps = array<i64: 1, 1>}
// CHECK-NEXT:    %[[K:.*]] = "lumir.slice"(%[[Y]]) {sizes = array<i64: 2, 2>, starts = array<i64: 0, 4>, steps = array<i64: 1, 1>}
// CHECK-NEXT:    return %[[Q]], %[[K]]
func.func @main(%x: tensor<2x8xf32>) -> (tensor<2x4xf32>, tensor<2x2xf32>) {
  %0 = "lumir.load"() {weight = @q} : () -> tensor<8x4xf32>
  %1 = "lumir.contract"(%x, %0) {equation = "mk,kn->mn", to = f32} : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32>
  %2 = "lumir.load"() {weight = @k} : () -> tensor<8x2xf32>
  %3 = "lumir.contract"(%x, %2) {equation = "mk,kn->mn", to = f32} : (tensor<2x8xf32>, tensor<8x2xf32>) -> tensor<2x2xf32>
  return %1, %3 : tensor<2x4xf32>, tensor<2x2xf32>
}
