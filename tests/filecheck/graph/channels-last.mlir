// RUN: lumir-opt %s --lumir-channels-last --lumir-canonicalize | filecheck %s

// CHECK-LABEL: func.func @main
// CHECK-SAME:    %[[X:.*]]: tensor<1x4x8x8xf16>, %[[W:.*]]: tensor<8x4x3x3xf16>, %[[V:.*]]: tensor<6x8x1x1xf16>
// CHECK:         %[[FILTERS:.*]] = "lumir.transpose"(%[[W]]) {permutation = array<i64: 0, 2, 3, 1>}
// CHECK:         %[[IMAGE:.*]] = "lumir.transpose"(%[[X]]) {permutation = array<i64: 0, 2, 3, 1>}
// CHECK:         %[[Y:.*]] = "lumir.conv"(%[[IMAGE]], %[[FILTERS]]) {channels_last = true
// CHECK:         %[[Z:.*]] = "lumir.tanh"(%[[Y]]) : (tensor<1x6x6x8xf16>)
// CHECK:         %[[FLAT:.*]] = "lumir.reshape"(%[[V]]) {shape = array<i64: 6, 8>}
// CHECK:         %[[U:.*]] = "lumir.contract"(%[[Z]], %[[FLAT]]) {equation = "abcy,zy->abcz", to = f16}
// CHECK:         %[[OUT:.*]] = "lumir.transpose"(%[[U]]) {permutation = array<i64: 0, 3, 1, 2>}
// CHECK:         return %[[OUT]]
func.func @main(%x: tensor<1x4x8x8xf16>, %w: tensor<8x4x3x3xf16>, %v: tensor<6x8x1x1xf16>) -> tensor<1x6x6x6xf16> {
  %0 = "lumir.conv"(%x, %w) {channels_last = false, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, low = array<i64: 0, 0>, high = array<i64: 0, 0>, groups = 1 : i64, to = f16} : (tensor<1x4x8x8xf16>, tensor<8x4x3x3xf16>) -> tensor<1x8x6x6xf16>
  %1 = "lumir.tanh"(%0) : (tensor<1x8x6x6xf16>) -> tensor<1x8x6x6xf16>
  %2 = "lumir.conv"(%1, %v) {channels_last = false, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, low = array<i64: 0, 0>, high = array<i64: 0, 0>, groups = 1 : i64, to = f16} : (tensor<1x8x6x6xf16>, tensor<6x8x1x1xf16>) -> tensor<1x6x6x6xf16>
  return %2 : tensor<1x6x6x6xf16>
}
