// RUN: lumir-opt %s --pass-pipeline='builtin.module(lumir-check-dialects{allowed=func,gpu,scf,arith},gpu.module(convert-scf-to-cf,convert-gpu-to-nvvm{index-bitwidth=64}),lumir-check-dialects{allowed=gpu,func,arith,llvm,nvvm},cse)' | filecheck %s
// RUN: not lumir-opt %s --lumir-check-dialects='allowed=func,gpu,arith by=convert-scf-to-cf' 2>&1 | filecheck %s --check-prefix=ERROR

// CHECK:       gpu.module @kernels
// CHECK:         llvm.func @loop
// CHECK:         llvm.cond_br
// CHECK-NOT:     scf.for

// ERROR:      mixed-pipeline.mlir:{{[0-9]+:[0-9]+}}: error: 'scf.for' op must not be left here: only func, gpu, arith may; convert-scf-to-cf should have removed it
// ERROR:      pass 'lumir-check-dialects' failed
// ERROR-NEXT:   pass: lumir-check-dialects{allowed=func,gpu,arith by=convert-scf-to-cf}
// ERROR-NEXT:   step: 1 of 1
gpu.module @kernels {
  gpu.func @loop(%n: index) kernel {
    %zero = arith.constant 0 : index
    %one = arith.constant 1 : index
    scf.for %i = %zero to %n step %one {
      gpu.barrier
    }
    gpu.return
  }
}
