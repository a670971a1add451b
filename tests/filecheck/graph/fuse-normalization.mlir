// RUN: lumir-opt %s --lumir-fuse-normalization --split-input-file | filecheck %s

// CHECK-LABEL: func.func @root_mean_square
// CHECK-SAME:    %[[X:.*]]: tensor<2x768xf32>
// CHECK-NEXT:    %[[Y:.*]] = "lumir.normalize"(%[[X]]) {axis = 1 : i64, center = false, epsilon = {{9.99.*E-7}} : f64}
// CHECK-NEXT:    return %[[Y]]
func.func @root_mean_square(%x: tensor<2x768xf32>) -> tensor<2x768xf32> {
  %count = "lumir.constant"() {value = dense<768.0> : tensor<f32>} : () -> tensor<f32>
  %epsilon = "lumir.constant"() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %0 = "lumir.mul"(%x, %x) : (tensor<2x768xf32>, tensor<2x768xf32>) -> tensor<2x768xf32>
  %1 = "lumir.reduce"(%0) {kind = "sum", axes = array<i64: 1>} : (tensor<2x768xf32>) -> tensor<2xf32>
  %2 = "lumir.reshape"(%1) {shape = array<i64: 2, 1>} : (tensor<2xf32>) -> tensor<2x1xf32>
  %3 = "lumir.div"(%2, %count) : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %4 = "lumir.add"(%3, %epsilon) : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %5 = "lumir.rsqrt"(%4) : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %6 = "lumir.mul"(%x, %5) : (tensor<2x768xf32>, tensor<2x1xf32>) -> tensor<2x768xf32>
  return %6 : tensor<2x768xf32>
}

// -----

// CHECK-LABEL: func.func @softmax
// CHECK-SAME:    %[[X:.*]]: tensor<2x8xf32>
// CHECK-NEXT:    %[[Y:.*]] = "lumir.softmax"(%[[X]]) {axis = 1 : i64, log = false}
// CHECK-NEXT:    return %[[Y]]
func.func @softmax(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %0 = "lumir.reduce"(%x) {kind = "max", axes = array<i64: 1>} : (tensor<2x8xf32>) -> tensor<2xf32>
  %1 = "lumir.reshape"(%0) {shape = array<i64: 2, 1>} : (tensor<2xf32>) -> tensor<2x1xf32>
  %2 = "lumir.sub"(%x, %1) : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %3 = "lumir.exp"(%2) : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %4 = "lumir.reduce"(%3) {kind = "sum", axes = array<i64: 1>} : (tensor<2x8xf32>) -> tensor<2xf32>
  %5 = "lumir.reshape"(%4) {shape = array<i64: 2, 1>} : (tensor<2xf32>) -> tensor<2x1xf32>
  %6 = "lumir.div"(%3, %5) : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  return %6 : tensor<2x8xf32>
}

// -----

// The mean by another count is none.
// CHECK-LABEL: func.func @another_count
// CHECK-NOT:     lumir.normalize
// CHECK:         return
func.func @another_count(%x: tensor<2x768xf32>) -> tensor<2x768xf32> {
  %count = "lumir.constant"() {value = dense<769.0> : tensor<f32>} : () -> tensor<f32>
  %epsilon = "lumir.constant"() {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %0 = "lumir.mul"(%x, %x) : (tensor<2x768xf32>, tensor<2x768xf32>) -> tensor<2x768xf32>
  %1 = "lumir.reduce"(%0) {kind = "sum", axes = array<i64: 1>} : (tensor<2x768xf32>) -> tensor<2xf32>
  %2 = "lumir.reshape"(%1) {shape = array<i64: 2, 1>} : (tensor<2xf32>) -> tensor<2x1xf32>
  %3 = "lumir.div"(%2, %count) : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %4 = "lumir.add"(%3, %epsilon) : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32>
  %5 = "lumir.rsqrt"(%4) : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %6 = "lumir.mul"(%x, %5) : (tensor<2x768xf32>, tensor<2x1xf32>) -> tensor<2x768xf32>
  return %6 : tensor<2x768xf32>
}
