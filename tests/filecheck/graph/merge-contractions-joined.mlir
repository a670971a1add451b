// RUN: lumir-opt %s --pass-pipeline='builtin.module(lumir-merge-contractions{joined=true})' | filecheck %s

"lumir.weight"() {offset = 0 : i64, path = "w.bin", sym_name = "gate", type = tensor<32x64xf16>} : () -> ()
"lumir.weight"() {offset = 4096 : i64, path = "w.bin", sym_name = "up", type = tensor<32x64xf16>} : () -> ()
"lumir.weight"() {offset = 8192 : i64, path = "w.bin", sym_name = "key", type = tensor<32x64xf16>} : () -> ()

// silu(gate) * up; the third product of the same value goes its own way
// CHECK-LABEL: func.func @gated
// CHECK:         %[[Y:.*]] = "lumir.contract"(%{{.*}}) {equation = "mk,kn->mn", to = f16} : (tensor<9x32xf16>, tensor<32x128xf16>) -> tensor<9x128xf16>
// CHECK-NEXT:    "lumir.slice"(%[[Y]]) {{.*}} -> tensor<9x64xf16>
// CHECK:         "lumir.slice"(%[[Y]]) {{.*}} -> tensor<9x64xf16>
// CHECK:         "lumir.contract"(%{{.*}}) {equation = "mk,kn->mn", to = f16} : (tensor<9x32xf16>, tensor<32x64xf16>)
func.func @gated(%x: tensor<9x32xf16>) -> (tensor<9x64xf16>, tensor<9x64xf16>) {
  %g = "lumir.load"() {weight = @gate} : () -> tensor<32x64xf16>
  %0 = "lumir.contract"(%x, %g) {equation = "mk,kn->mn", to = f16} : (tensor<9x32xf16>, tensor<32x64xf16>) -> tensor<9x64xf16>
  %1 = "lumir.sigmoid"(%0) : (tensor<9x64xf16>) -> tensor<9x64xf16>
  %2 = "lumir.mul"(%0, %1) : (tensor<9x64xf16>, tensor<9x64xf16>) -> tensor<9x64xf16>
  %u = "lumir.load"() {weight = @up} : () -> tensor<32x64xf16>
  %3 = "lumir.contract"(%x, %u) {equation = "mk,kn->mn", to = f16} : (tensor<9x32xf16>, tensor<32x64xf16>) -> tensor<9x64xf16>
  %4 = "lumir.mul"(%2, %3) : (tensor<9x64xf16>, tensor<9x64xf16>) -> tensor<9x64xf16>
  %k = "lumir.load"() {weight = @key} : () -> tensor<32x64xf16>
  %5 = "lumir.contract"(%x, %k) {equation = "mk,kn->mn", to = f16} : (tensor<9x32xf16>, tensor<32x64xf16>) -> tensor<9x64xf16>
  return %4, %5 : tensor<9x64xf16>, tensor<9x64xf16>
}

// the gate alone is returned too
// CHECK-LABEL: func.func @apart
// CHECK-NOT:     tensor<9x128xf16>
func.func @apart(%x: tensor<9x32xf16>) -> (tensor<9x64xf16>, tensor<9x64xf16>) {
  %g = "lumir.load"() {weight = @gate} : () -> tensor<32x64xf16>
  %0 = "lumir.contract"(%x, %g) {equation = "mk,kn->mn", to = f16} : (tensor<9x32xf16>, tensor<32x64xf16>) -> tensor<9x64xf16>
  %u = "lumir.load"() {weight = @up} : () -> tensor<32x64xf16>
  %1 = "lumir.contract"(%x, %u) {equation = "mk,kn->mn", to = f16} : (tensor<9x32xf16>, tensor<32x64xf16>) -> tensor<9x64xf16>
  %2 = "lumir.mul"(%0, %1) : (tensor<9x64xf16>, tensor<9x64xf16>) -> tensor<9x64xf16>
  return %0, %2 : tensor<9x64xf16>, tensor<9x64xf16>
}

// up comes first, and the gate is read twice on the way to where they meet
// CHECK-LABEL: func.func @up_first
// CHECK:         "lumir.contract"(%{{.*}}) {equation = "mk,kn->mn", to = f16} : (tensor<9x32xf16>, tensor<32x128xf16>) -> tensor<9x128xf16>
// CHECK-NOT:     lumir.contract
func.func @up_first(%x: tensor<9x32xf16>) -> tensor<9x64xf16> {
  %u = "lumir.load"() {weight = @up} : () -> tensor<32x64xf16>
  %0 = "lumir.contract"(%x, %u) {equation = "mk,kn->mn", to = f16} : (tensor<9x32xf16>, tensor<32x64xf16>) -> tensor<9x64xf16>
  %g = "lumir.load"() {weight = @gate} : () -> tensor<32x64xf16>
  %1 = "lumir.contract"(%x, %g) {equation = "mk,kn->mn", to = f16} : (tensor<9x32xf16>, tensor<32x64xf16>) -> tensor<9x64xf16>
  %2 = "lumir.sigmoid"(%1) : (tensor<9x64xf16>) -> tensor<9x64xf16>
  %3 = "lumir.mul"(%1, %2) : (tensor<9x64xf16>, tensor<9x64xf16>) -> tensor<9x64xf16>
  %4 = "lumir.mul"(%0, %3) : (tensor<9x64xf16>, tensor<9x64xf16>) -> tensor<9x64xf16>
  return %4 : tensor<9x64xf16>
}
