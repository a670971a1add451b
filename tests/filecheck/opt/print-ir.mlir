// RUN: lumir-opt %s --canonicalize --cse --print-ir-before=cse --print-ir-after=canonicalize -o %t 2>&1 | filecheck %s
// RUN: lumir-opt %s --cse --canonicalize --print-ir-after-change -o %t 2>&1 | filecheck %s --check-prefix=CHANGE
// RUN: lumir-opt %s --cse --mlir-print-ir-after-all -o %t 2>&1 | filecheck %s --check-prefix=ALL
// RUN: lumir-opt %s --cse --print-ir-before-all -o %t 2>&1 | filecheck %s --check-prefix=BEFORE
// RUN: not lumir-opt %s --cse --lumir-check-dialects=allowed=func --print-ir-after-failure 2>&1 | filecheck %s --check-prefix=FAIL
// RUN: not lumir-opt %s --cse --print-ir-after=canonicalize 2>&1 | filecheck %s --check-prefix=WRONG
// RUN: lumir-opt %s --cse --canonicalize --timing -o %t 2>&1 | filecheck %s --check-prefix=TIME

// CHECK:      IR Dump After canonicalize //----- //
// CHECK:      arith.constant 2
// CHECK:      IR Dump Before cse //----- //

// CHANGE-NOT: After cse
// CHANGE:     IR Dump After canonicalize
// CHANGE-NOT: After cse

// ALL:        // -----// IR Dump After cse //----- //
// ALL-NEXT:   module {

// BEFORE:     // -----// IR Dump Before cse //----- //

// FAIL-NOT:   After cse
// FAIL:       IR Dump After lumir-check-dialects Failed

// WRONG:      error[unknown-pass]: the IR is to be printed around pass 'canonicalize', which the pipeline does not have
// WRONG-NEXT:   passes: cse

// TIME:       Execution time report
// TIME:       Total Execution Time
// TIME:       parse
// TIME-NEXT:  cse
// TIME-NEXT:  canonicalize
// TIME-NEXT:  output
func.func @fold() -> i32 {
  %0 = arith.constant 1 : i32
  %1 = arith.addi %0, %0 : i32
  return %1 : i32
}
