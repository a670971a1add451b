// RUN: lumir-opt %s --lumir-fold-constants | filecheck %s

"lumir.weight"() {sym_name = "w", type = tensor<4x8xf32>, path = "model.safetensors", offset = 0 : i64} : () -> ()

// CHECK:       "lumir.derived_weight"() ({
// CHECK-NEXT:    %[[W:.*]] = "lumir.load"() {weight = @w} : () -> tensor<4x8xf32>
// CHECK-NEXT:    %[[T:.*]] = "lumir.transpose"(%[[W]]) {permutation = array<i64: 1, 0>}
// CHECK-NEXT:    "lumir.yield"(%[[T]])
// CHECK-NEXT:  }) {sym_name = "w.transpose", type = tensor<8x4xf32>}
// CHECK-NOT:   "lumir.derived_weight"
// CHECK-LABEL: func.func @main
// CHECK-SAME:    %[[X:.*]]: tensor<2x8xf32>
// CHECK-NEXT:    %[[A:.*]] = "lumir.load"() {weight = @w.transpose} : () -> tensor<8x4xf32>
// CHECK-NEXT:    %[[Y:.*]] = "lumir.contract"(%[[X]], %[[A]])
// CHECK-NEXT:    %[[B:.*]] = "lumir.load"() {weight = @w.transpose} : () -> tensor<8x4xf32>
// CHECK-NEXT:    %[[Z:.*]] = "lumir.contract"(%[[X]], %[[B]])
// CHECK-NEXT:    return %[[Y]], %[[Z]]
func.func @main(%x: tensor<2x8xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
  %0 = "lumir.load"() {weight = @w} : () -> tensor<4x8xf32>
  %1 = "lumir.transpose"(%0) {permutation = array<i64: 1, 0>} : (tensor<4x8xf32>) -> tensor<8x4xf32>
  %2 = "lumir.contract"(%x, %1) {equation = "mk,kn->mn", to = f32} : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32>
  %3 = "lumir.transpose"(%0) {permutation = array<i64: 1, 0>} : (tensor<4x8xf32>) -> tensor<8x4xf32>
  %4 = "lumir.contract"(%x, %3) {equation = "mk,kn->mn", to = f32} : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32>
  return %2, %4 : tensor<2x4xf32>, tensor<2x4xf32>
}

// A repetition of a weight and a count are cheaper inside a kernel.
// CHECK-LABEL: func.func @cheap
// CHECK:         "lumir.broadcast"
// CHECK:         "lumir.iota"
func.func @cheap() -> (tensor<3x4x8xf32>, tensor<5xi64>) {
  %0 = "lumir.load"() {weight = @w} : () -> tensor<4x8xf32>
  %1 = "lumir.broadcast"(%0) {shape = array<i64: 3, 4, 8>} : (tensor<4x8xf32>) -> tensor<3x4x8xf32>
  %2 = "lumir.iota"() {type = tensor<5xi64>, axis = 0 : i64} : () -> tensor<5xi64>
  return %1, %2 : tensor<3x4x8xf32>, tensor<5xi64>
}
