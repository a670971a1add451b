// RUN: lumir-opt %s --lumir-canonicalize --split-input-file | filecheck %s

// CHECK-LABEL: func.func @linear
// CHECK-SAME:    %[[X:.*]]: tensor<2x8xf32>, %[[W:.*]]: tensor<4x8xf32>
// CHECK-NEXT:    %[[Y:.*]] = "lumir.contract"(%[[X]], %[[W]]) {equation = "mk,nk->mn", to = f32}
// CHECK-NEXT:    return %[[Y]]
func.func @linear(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>) -> tensor<2x4xf32> {
  %zero = "lumir.constant"() {value = dense<-0.0> : tensor<f32>} : () -> tensor<f32>
  %t = "lumir.transpose"(%w) {permutation = array<i64: 1, 0>} : (tensor<4x8xf32>) -> tensor<8x4xf32>
  %y = "lumir.contract"(%x, %t) {equation = "mk,kn->mn", to = f32} : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x4xf32>
  %0 = "lumir.add"(%y, %zero) : (tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----

// A transpose between a reshape that merges dimensions and one that splits them again.
// CHECK-LABEL: func.func @heads
// CHECK-SAME:    %[[X:.*]]: tensor<2x3x4x5xf32>
// CHECK-NEXT:    %[[Y:.*]] = "lumir.transpose"(%[[X]]) {permutation = array<i64: 0, 1, 3, 2>}
// CHECK-NEXT:    return %[[Y]]
func.func @heads(%x: tensor<2x3x4x5xf32>) -> tensor<2x3x5x4xf32> {
  %0 = "lumir.reshape"(%x) {shape = array<i64: 6, 4, 5>} : (tensor<2x3x4x5xf32>) -> tensor<6x4x5xf32>
  %1 = "lumir.transpose"(%0) {permutation = array<i64: 0, 2, 1>} : (tensor<6x4x5xf32>) -> tensor<6x5x4xf32>
  %2 = "lumir.reshape"(%1) {shape = array<i64: 2, 3, 5, 4>} : (tensor<6x5x4xf32>) -> tensor<2x3x5x4xf32>
  return %2 : tensor<2x3x5x4xf32>
}

// -----

// A cast through a type that does not hold every value stays.
// CHECK-LABEL: func.func @casts
// CHECK-SAME:    %[[X:.*]]: tensor<4xf16>
// CHECK-NEXT:    %[[SHORT:.*]] = "lumir.cast"(%[[X]]) {saturate = true, to = bf16}
// CHECK-NEXT:    %[[BACK:.*]] = "lumir.cast"(%[[SHORT]]) {saturate = true, to = f16}
// CHECK-NEXT:    return %[[X]], %[[BACK]]
func.func @casts(%x: tensor<4xf16>) -> (tensor<4xf16>, tensor<4xf16>) {
  %0 = "lumir.cast"(%x) {saturate = true, to = f32} : (tensor<4xf16>) -> tensor<4xf32>
  %1 = "lumir.cast"(%0) {saturate = true, to = f16} : (tensor<4xf32>) -> tensor<4xf16>
  %2 = "lumir.cast"(%x) {saturate = true, to = bf16} : (tensor<4xf16>) -> tensor<4xbf16>
  %3 = "lumir.cast"(%2) {saturate = true, to = f16} : (tensor<4xbf16>) -> tensor<4xf16>
  return %1, %3 : tensor<4xf16>, tensor<4xf16>
}

// -----

// The new op keeps the location of the one it replaces.
// RUN: lumir-opt %s --lumir-canonicalize --split-input-file --mlir-print-debuginfo | filecheck %s --check-prefix=LOC
// LOC-LABEL: func.func @square
// LOC:         "lumir.mul"({{.*}}) : {{.*}} loc(#[[LOC:.*]])
// LOC:         #[[LOC]] = loc("/layer/Pow")
func.func @square(%x: tensor<4xf32>) -> tensor<4xf32> {
  %two = "lumir.constant"() {value = dense<2.0> : tensor<f32>} : () -> tensor<f32>
  %0 = "lumir.pow"(%x, %two) : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("/layer/Pow")
  return %0 : tensor<4xf32>
}
