// RUN: lumir-opt %s --lumir-lay-weights --lumir-fold-constants | filecheck %s

"lumir.weight"() {offset = 0 : i64, path = "w.bin", sym_name = "w", type = tensor<512x256xf32>} : () -> ()

// CHECK:       "lumir.derived_weight"
// CHECK:         "lumir.transpose"
// CHECK:       sym_name = "w.transpose"

// CHECK-LABEL: func.func @few_rows
// CHECK-NEXT:    %[[W:.*]] = "lumir.load"() {weight = @w.transpose} : () -> tensor<256x512xf32>
// CHECK-NEXT:    "lumir.contract"(%{{.*}}, %[[W]]) {equation = "mk,nk->mn", to = f32}
func.func @few_rows(%x: tensor<4x512xf32>) -> tensor<4x256xf32> {
  %w = "lumir.load"() {weight = @w} : () -> tensor<512x256xf32>
  %0 = "lumir.contract"(%x, %w) {equation = "mk,kn->mn", to = f32} : (tensor<4x512xf32>, tensor<512x256xf32>) -> tensor<4x256xf32>
  return %0 : tensor<4x256xf32>
}

// CHECK-LABEL: func.func @many_rows
// CHECK:         "lumir.load"() {weight = @w}
// CHECK-NEXT:    "lumir.contract"(%{{.*}}) {equation = "mk,kn->mn", to = f32}
func.func @many_rows(%x: tensor<17x512xf32>) -> tensor<17x256xf32> {
  %w = "lumir.load"() {weight = @w} : () -> tensor<512x256xf32>
  %0 = "lumir.contract"(%x, %w) {equation = "mk,kn->mn", to = f32} : (tensor<17x512xf32>, tensor<512x256xf32>) -> tensor<17x256xf32>
  return %0 : tensor<17x256xf32>
}

// CHECK-LABEL: func.func @activations
// CHECK-NEXT:    "lumir.contract"(%{{.*}}) {equation = "mk,kn->mn", to = f32}
func.func @activations(%x: tensor<4x512xf32>, %w: tensor<512x256xf32>) -> tensor<4x256xf32> {
  %0 = "lumir.contract"(%x, %w) {equation = "mk,kn->mn", to = f32} : (tensor<4x512xf32>, tensor<512x256xf32>) -> tensor<4x256xf32>
  return %0 : tensor<4x256xf32>
}
