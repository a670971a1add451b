// RUN: lumir-opt %s --lumir-merge-groups | filecheck %s

// CHECK-LABEL: func.func private @resnext
// CHECK-SAME:    %[[X:.*]]: tensor<2x48x48x128xf16>, %[[W:.*]]: tensor<128x3x3x4xf16>
// CHECK:         %[[APART:.*]] = "lumir.reshape"(%[[W]]) {shape = array<i64: 2, 16, 4, 3, 3, 1, 4>}
// CHECK:         %[[EYE:.*]] = "lumir.constant"() {{.*}} -> tensor<16x1x1x1x16x1xf16>
// CHECK:         %[[SPREAD:.*]] = "lumir.mul"(%[[APART]], %[[EYE]])
// CHECK:         %[[FILTERS:.*]] = "lumir.reshape"(%[[SPREAD]]) {shape = array<i64: 128, 3, 3, 64>}
// CHECK:         "lumir.conv"(%[[X]], %[[FILTERS]]) {channels_last = true, dilations = array<i64: 1, 1>, groups = 2 : i64
func.func private @resnext(%x: tensor<2x48x48x128xf16>, %w: tensor<128x3x3x4xf16>) -> tensor<2x48x48x128xf16> {
  %0 = "lumir.conv"(%x, %w) {channels_last = true, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, low = array<i64: 1, 1>, high = array<i64: 1, 1>, groups = 32 : i64, to = f16} : (tensor<2x48x48x128xf16>, tensor<128x3x3x4xf16>) -> tensor<2x48x48x128xf16>
  return %0 : tensor<2x48x48x128xf16>
}

// Few places; channels that do not divide 64; one channel a group.
// CHECK-LABEL: func.func private @others
// CHECK-NOT:     lumir.reshape
func.func private @others(%x: tensor<1x7x7x128xf16>, %w: tensor<128x3x3x4xf16>, %y: tensor<2x48x48x96xf16>, %v: tensor<96x3x3x12xf16>, %z: tensor<2x48x48x64xf16>, %u: tensor<64x3x3x1xf16>) -> (tensor<1x5x5x128xf16>, tensor<2x46x46x96xf16>, tensor<2x46x46x64xf16>) {
  %0 = "lumir.conv"(%x, %w) {channels_last = true, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, low = array<i64: 0, 0>, high = array<i64: 0, 0>, groups = 32 : i64, to = f16} : (tensor<1x7x7x128xf16>, tensor<128x3x3x4xf16>) -> tensor<1x5x5x128xf16>
  %1 = "lumir.conv"(%y, %v) {channels_last = true, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, low = array<i64: 0, 0>, high = array<i64: 0, 0>, groups = 8 : i64, to = f16} : (tensor<2x48x48x96xf16>, tensor<96x3x3x12xf16>) -> tensor<2x46x46x96xf16>
  %2 = "lumir.conv"(%z, %u) {channels_last = true, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, low = array<i64: 0, 0>, high = array<i64: 0, 0>, groups = 64 : i64, to = f16} : (tensor<2x48x48x64xf16>, tensor<64x3x3x1xf16>) -> tensor<2x46x46x64xf16>
  return %0, %1, %2 : tensor<1x5x5x128xf16>, tensor<2x46x46x96xf16>, tensor<2x46x46x64xf16>
}
