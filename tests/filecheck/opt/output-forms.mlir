// RUN: lumir-opt %s --mlir-print-op-generic | filecheck %s --check-prefix=GENERIC
// RUN: lumir-opt %s --mlir-print-debuginfo | filecheck %s --check-prefix=DEBUG
// RUN: lumir-opt %s --mlir-print-debuginfo --mlir-print-local-scope | filecheck %s --check-prefix=LOCAL
// RUN: lumir-opt %s --emit-bytecode | lumir-opt - --mlir-disable-threading | filecheck %s
// RUN: lumir-opt %s --emit-bytecode=false -o %t && filecheck %s --input-file=%t
// RUN: lumir-opt %s --mlir-elide-elementsattrs-if-larger=2 | filecheck %s --check-prefix=ELIDE
// RUN: not lumir-opt %S/Inputs/unregistered.mlir 2>&1 | filecheck %s --check-prefix=UNREGISTERED
// RUN: lumir-opt %S/Inputs/unregistered.mlir --allow-unregistered-dialect | filecheck %s --check-prefix=ALLOWED

// GENERIC: "func.func"() <{{.*}}sym_name = "f"
// DEBUG:   loc(#[[L:.*]])
// DEBUG:   #{{.*}} = loc("node 1"
// LOCAL:   loc("node 1"
// CHECK:   arith.constant dense<[1, 2, 3, 4]> : tensor<4xi32>
// ELIDE:   dense_resource<__elided__>
// UNREGISTERED: unregistered.mlir:1:15: error: {{.*}}unregistered dialect
// UNREGISTERED-NEXT: "nobody.knows"() : () -> ()
// UNREGISTERED-NEXT: ^
// ALLOWED: "nobody.knows"() : () -> ()
func.func @f() -> tensor<4xi32> {
  %0 = arith.constant dense<[1, 2, 3, 4]> : tensor<4xi32> loc("node 1")
  return %0 : tensor<4xi32>
}
