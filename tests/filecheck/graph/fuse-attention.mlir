// RUN: lumir-opt %s --lumir-fuse-attention --split-input-file | filecheck %s
// RUN: lumir-opt %s --lumir-fuse-attention=keep-empty-rows=true --split-input-file | filecheck %s --check-prefix=ROWS

// Grouped queries, scales on both sides, a mask that is causal and drops padding, a guard against NaN.
// CHECK-LABEL: func.func @exported
// CHECK-SAME:    %[[Q:.*]]: tensor<1x4x3x8xf32>, %[[K:.*]]: tensor<1x2x3x8xf32>, %[[V:.*]]: tensor<1x2x3x8xf32>, %[[KEEP:.*]]: tensor<1x1x1x3xi1>
// CHECK-NEXT:    %[[Y:.*]] = "lumir.attention"(%[[Q]], %[[K]], %[[V]], %[[KEEP]])
// CHECK-SAME:      {causal = true, offset = 0 : i64, scale = 2.500000e-01 : f64, softcap = 0.000000e+00 : f64, window = 0 : i64}
// CHECK-NEXT:    return %[[Y]]
// ROWS-LABEL: func.func @exported
// ROWS:         %[[Y:.*]] = "lumir.attention"({{.*}}, %arg3) {causal = true
// ROWS:         %[[EMPTY:.*]] = "lumir.gt"
// ROWS:         "lumir.select"(%[[EMPTY]], %{{.*}}, %[[Y]])
func.func @exported(%q: tensor<1x4x3x8xf32>, %k: tensor<1x2x3x8xf32>, %v: tensor<1x2x3x8xf32>, %keep: tensor<1x1x1x3xi1>) -> tensor<1x4x3x8xf32> {
  %half = "lumir.constant"() {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %zero = "lumir.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %low = "lumir.constant"() {value = dense<-3.40282347E+38> : tensor<f32>} : () -> tensor<f32>
  %table = "lumir.constant"() {value = dense<[[true, false, false], [true, true, false], [true, true, true]]> : tensor<3x3xi1>} : () -> tensor<3x3xi1>
  %k0 = "lumir.reshape"(%k) {shape = array<i64: 1, 2, 1, 3, 8>} : (tensor<1x2x3x8xf32>) -> tensor<1x2x1x3x8xf32>
  %k1 = "lumir.broadcast"(%k0) {shape = array<i64: 1, 2, 2, 3, 8>} : (tensor<1x2x1x3x8xf32>) -> tensor<1x2x2x3x8xf32>
  %k2 = "lumir.reshape"(%k1) {shape = array<i64: 1, 4, 3, 8>} : (tensor<1x2x2x3x8xf32>) -> tensor<1x4x3x8xf32>
  %v0 = "lumir.reshape"(%v) {shape = array<i64: 1, 2, 1, 3, 8>} : (tensor<1x2x3x8xf32>) -> tensor<1x2x1x3x8xf32>
  %v1 = "lumir.broadcast"(%v0) {shape = array<i64: 1, 2, 2, 3, 8>} : (tensor<1x2x1x3x8xf32>) -> tensor<1x2x2x3x8xf32>
  %v2 = "lumir.reshape"(%v1) {shape = array<i64: 1, 4, 3, 8>} : (tensor<1x2x2x3x8xf32>) -> tensor<1x4x3x8xf32>
  %qs = "lumir.mul"(%q, %half) : (tensor<1x4x3x8xf32>, tensor<f32>) -> tensor<1x4x3x8xf32>
  %ks = "lumir.mul"(%k2, %half) : (tensor<1x4x3x8xf32>, tensor<f32>) -> tensor<1x4x3x8xf32>
  %kt = "lumir.transpose"(%ks) {permutation = array<i64: 0, 1, 3, 2>} : (tensor<1x4x3x8xf32>) -> tensor<1x4x8x3xf32>
  %s = "lumir.contract"(%qs, %kt) {equation = "bhmd,bhdn->bhmn", to = f32} : (tensor<1x4x3x8xf32>, tensor<1x4x8x3xf32>) -> tensor<1x4x3x3xf32>
  %allowed = "lumir.and"(%table, %keep) : (tensor<3x3xi1>, tensor<1x1x1x3xi1>) -> tensor<1x1x3x3xi1>
  %mask = "lumir.select"(%allowed, %zero, %low) : (tensor<1x1x3x3xi1>, tensor<f32>, tensor<f32>) -> tensor<1x1x3x3xf32>
  %masked = "lumir.add"(%s, %mask) : (tensor<1x4x3x3xf32>, tensor<1x1x3x3xf32>) -> tensor<1x4x3x3xf32>
  %p = "lumir.softmax"(%masked) {axis = 3 : i64, log = false} : (tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
  %nan = "lumir.isnan"(%p) : (tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xi1>
  %w = "lumir.select"(%nan, %zero, %p) : (tensor<1x4x3x3xi1>, tensor<f32>, tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
  %y = "lumir.contract"(%w, %v2) {equation = "bhmn,bhnd->bhmd", to = f32} : (tensor<1x4x3x3xf32>, tensor<1x4x3x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

// Scores that something else reads.
// CHECK-LABEL: func.func @scores_are_returned
// CHECK-NOT:     lumir.attention
// CHECK:         return
func.func @scores_are_returned(%q: tensor<1x4x3x8xf32>) -> (tensor<1x4x3x8xf32>, tensor<1x4x3x3xf32>) {
  %s = "lumir.contract"(%q, %q) {equation = "bhmd,bhnd->bhmn", to = f32} : (tensor<1x4x3x8xf32>, tensor<1x4x3x8xf32>) -> tensor<1x4x3x3xf32>
  %p = "lumir.softmax"(%s) {axis = 3 : i64, log = false} : (tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
  %y = "lumir.contract"(%p, %q) {equation = "bhmn,bhnd->bhmd", to = f32} : (tensor<1x4x3x3xf32>, tensor<1x4x3x8xf32>) -> tensor<1x4x3x8xf32>
  return %y, %s : tensor<1x4x3x8xf32>, tensor<1x4x3x3xf32>
}

// -----

// A window in sizes that are known when the model runs: each query keeps its own key, so that a finite fill drops the others.
// CHECK-LABEL: func.func @symbolic
// CHECK-SAME:    %[[Q:.*]]: tensor<1x2x?x4xf32, ["seq"]>, %[[K:.*]]: tensor<1x2x?x4xf32, ["past + seq"]>
// CHECK-NEXT:    %[[Y:.*]] = "lumir.attention"(%[[Q]], %[[K]], %[[K]]) {causal = true, offset = "past", {{.*}}window = 32 : i64}
// CHECK-NEXT:    return %[[Y]]
// ROWS-LABEL: func.func @symbolic
// ROWS-NEXT:    "lumir.attention"(%{{.*}}, %{{.*}}, %{{.*}}) {causal = true, offset = "past", {{.*}}window = 32 : i64}
module attributes {lumir.dims = {past = "0..512", seq = "1..512"}} {
  func.func @symbolic(%q: tensor<1x2x?x4xf32, ["seq"]>, %k: tensor<1x2x?x4xf32, ["past + seq"]>) -> tensor<1x2x?x4xf32, ["seq"]> {
    %rows = "lumir.iota"() {axis = 0 : i64, type = tensor<?xi64, ["seq"]>} : () -> tensor<?xi64, ["seq"]>
    %keys = "lumir.iota"() {axis = 1 : i64, type = tensor<1x?xi64, ["past + seq"]>} : () -> tensor<1x?xi64, ["past + seq"]>
    %past = "lumir.size"() {to = tensor<i64>, value = "past"} : () -> tensor<i64>
    %column = "lumir.reshape"(%rows) {shape = ["seq", 1 : i64]} : (tensor<?xi64, ["seq"]>) -> tensor<?x1xi64, ["seq"]>
    %here = "lumir.add"(%column, %past) : (tensor<?x1xi64, ["seq"]>, tensor<i64>) -> tensor<?x1xi64, ["seq"]>
    %seen = "lumir.le"(%keys, %here) : (tensor<1x?xi64, ["past + seq"]>, tensor<?x1xi64, ["seq"]>) -> tensor<?x?xi1, ["seq", "past + seq"]>
    %size = "lumir.constant"() {value = dense<32> : tensor<i64>} : () -> tensor<i64>
    %old = "lumir.sub"(%here, %size) : (tensor<?x1xi64, ["seq"]>, tensor<i64>) -> tensor<?x1xi64, ["seq"]>
    %late = "lumir.gt"(%keys, %old) : (tensor<1x?xi64, ["past + seq"]>, tensor<?x1xi64, ["seq"]>) -> tensor<?x?xi1, ["seq", "past + seq"]>
    %both = "lumir.and"(%seen, %late) : (tensor<?x?xi1, ["seq", "past + seq"]>, tensor<?x?xi1, ["seq", "past + seq"]>) -> tensor<?x?xi1, ["seq", "past + seq"]>
    %zero = "lumir.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
    %low = "lumir.constant"() {value = dense<-3.40282347E+38> : tensor<f32>} : () -> tensor<f32>
    %mask = "lumir.select"(%both, %zero, %low) : (tensor<?x?xi1, ["seq", "past + seq"]>, tensor<f32>, tensor<f32>) -> tensor<?x?xf32, ["seq", "past + seq"]>
    %0 = "lumir.attention"(%q, %k, %k, %mask) {causal = false, offset = 0 : i64, scale = 0.5 : f64, softcap = 0.0 : f64, window = 0 : i64} : (tensor<1x2x?x4xf32, ["seq"]>, tensor<1x2x?x4xf32, ["past + seq"]>, tensor<1x2x?x4xf32, ["past + seq"]>, tensor<?x?xf32, ["seq", "past + seq"]>) -> tensor<1x2x?x4xf32, ["seq"]>
    return %0 : tensor<1x2x?x4xf32, ["seq"]>
  }
}
