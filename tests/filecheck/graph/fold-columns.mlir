// RUN: lumir-opt %s --lumir-fold-columns | filecheck %s

// CHECK-LABEL: func.func private @stem
// CHECK-SAME:    %[[X:.*]]: tensor<2x15x16x4xf16>, %[[W:.*]]: tensor<8x7x7x4xf16>
// CHECK:         %[[IMAGE:.*]] = "lumir.reshape"(%[[X]]) {shape = array<i64: 2, 15, 8, 8>}
// CHECK:         %[[WIDE:.*]] = "lumir.pad"(%[[W]], {{.*}}) {high = array<i64: 0, 0, 0, 0>, interior = array<i64: 0, 0, 0, 0>, low = array<i64: 0, 0, 1, 0>
// CHECK:         %[[FILTERS:.*]] = "lumir.reshape"(%[[WIDE]]) {shape = array<i64: 8, 7, 4, 8>}
// CHECK:         "lumir.conv"(%[[IMAGE]], %[[FILTERS]]) {channels_last = true, dilations = array<i64: 1, 1>, groups = 1 : i64, high = array<i64: 3, 1>, low = array<i64: 3, 2>, strides = array<i64: 2, 1>
// CHECK-SAME:    -> tensor<2x8x8x8xf16>
func.func private @stem(%x: tensor<2x15x16x4xf16>, %w: tensor<8x7x7x4xf16>) -> tensor<2x8x8x8xf16> {
  %0 = "lumir.conv"(%x, %w) {channels_last = true, strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, low = array<i64: 3, 3>, high = array<i64: 3, 3>, groups = 1 : i64, to = f16} : (tensor<2x15x16x4xf16>, tensor<8x7x7x4xf16>) -> tensor<2x8x8x8xf16>
  return %0 : tensor<2x8x8x8xf16>
}

// An odd width has no whole number of steps, and eight channels fill a copy as they are.
// CHECK-LABEL: func.func private @others
// CHECK-NOT:     lumir.reshape
func.func private @others(%x: tensor<2x15x15x4xf16>, %w: tensor<8x7x7x4xf16>, %y: tensor<2x16x16x8xf16>, %v: tensor<8x3x3x8xf16>) -> (tensor<2x8x8x8xf16>, tensor<2x7x7x8xf16>) {
  %0 = "lumir.conv"(%x, %w) {channels_last = true, strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, low = array<i64: 3, 3>, high = array<i64: 3, 3>, groups = 1 : i64, to = f16} : (tensor<2x15x15x4xf16>, tensor<8x7x7x4xf16>) -> tensor<2x8x8x8xf16>
  %1 = "lumir.conv"(%y, %v) {channels_last = true, strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, low = array<i64: 0, 0>, high = array<i64: 0, 0>, groups = 1 : i64, to = f16} : (tensor<2x16x16x8xf16>, tensor<8x3x3x8xf16>) -> tensor<2x7x7x8xf16>
  return %0, %1 : tensor<2x8x8x8xf16>, tensor<2x7x7x8xf16>
}
