// RUN: lumir-opt %s --lumir-mark-unwritten | filecheck %s

"lumir.weight"() {offset = 0 : i64, path = "w.bin", sym_name = "w", type = tensor<8x8xf32>} : () -> ()

// Arguments that every call passes a weight, also in another shape, or an input of the model for.
// CHECK-LABEL: func.func private @both
// CHECK-SAME:    %{{.*}}: tensor<1x8xf32> {lumir.unwritten}, %{{.*}}: tensor<8x8xf32> {lumir.unwritten}
func.func private @both(%x: tensor<1x8xf32>, %w: tensor<8x8xf32>) -> tensor<1x8xf32> attributes {lumir.dispatch} {
  %0 = "lumir.contract"(%x, %w) {equation = "mk,nk->mn", to = f32} : (tensor<1x8xf32>, tensor<8x8xf32>) -> tensor<1x8xf32>
  return %0 : tensor<1x8xf32>
}

// One call passes what a kernel wrote.
// CHECK-LABEL: func.func private @one
// CHECK-NOT:     lumir.unwritten
// CHECK:       func.func @main
func.func private @one(%w: tensor<8x8xf32>) -> tensor<8x8xf32> attributes {lumir.dispatch} {
  %0 = "lumir.exp"(%w) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}

func.func @main(%x: tensor<1x8xf32>) -> (tensor<1x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>) {
  %w = "lumir.load"() {weight = @w} : () -> tensor<8x8xf32>
  %flat = "lumir.reshape"(%w) {shape = array<i64: 64>} : (tensor<8x8xf32>) -> tensor<64xf32>
  %square = "lumir.reshape"(%flat) {shape = array<i64: 8, 8>} : (tensor<64xf32>) -> tensor<8x8xf32>
  %0 = func.call @both(%x, %square) : (tensor<1x8xf32>, tensor<8x8xf32>) -> tensor<1x8xf32>
  %1 = func.call @one(%w) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %2 = func.call @one(%1) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0, %1, %2 : tensor<1x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>
}
