// RUN: lumir-opt %s --lumir-allow-tf32 | filecheck %s

// CHECK-LABEL: func.func @float32
// CHECK:         "lumir.contract"(%{{.*}}) {equation = "mk,kn->mn", lumir.allow_tf32, to = f32}
func.func @float32(%x: tensor<4x8xf32>, %w: tensor<8x6xf32>) -> tensor<4x6xf32> {
  %0 = "lumir.contract"(%x, %w) {equation = "mk,kn->mn", to = f32} : (tensor<4x8xf32>, tensor<8x6xf32>) -> tensor<4x6xf32>
  return %0 : tensor<4x6xf32>
}

// CHECK-LABEL: func.func @other_types
// CHECK-NOT:     allow_tf32
func.func @other_types(%x: tensor<4x8xf16>, %w: tensor<8x6xf16>, %y: tensor<4x8xf64>, %z: tensor<8x6xf64>) -> (tensor<4x6xf32>, tensor<4x6xf64>) {
  %0 = "lumir.contract"(%x, %w) {equation = "mk,kn->mn", to = f32} : (tensor<4x8xf16>, tensor<8x6xf16>) -> tensor<4x6xf32>
  %1 = "lumir.contract"(%y, %z) {equation = "mk,kn->mn", to = f64} : (tensor<4x8xf64>, tensor<8x6xf64>) -> tensor<4x6xf64>
  return %0, %1 : tensor<4x6xf32>, tensor<4x6xf64>
}
