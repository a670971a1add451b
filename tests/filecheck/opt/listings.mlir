// RUN: lumir-opt --list-passes | filecheck %s --check-prefix=PASSES
// RUN: lumir-opt --show-dialects | filecheck %s --check-prefix=DIALECTS
// RUN: lumir-opt --pass-help=lumir-check-dialects | filecheck %s --check-prefix=HELP
// RUN: not lumir-opt --pass-help=lumir-check-dialect 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: lumir-opt --version | filecheck %s --check-prefix=VERSION

// PASSES:      Passes of lumir:
// PASSES:        --lumir-check-dialects
// PASSES:      Named pipelines:
// PASSES-NEXT:   --lumir-cleanup
// PASSES:      Passes of MLIR:
// PASSES:        --canonicalize
// DIALECTS:    Available Dialects: {{.*}}arith, {{.*}}linalg, {{.*}}lumir, {{.*}}vector
// HELP:        lumir-check-dialects
// HELP:        Options:
// HELP-NEXT:     allowed (list of text, separated by commas; required)
// HELP-NEXT:     by (text, or none; default none)
// UNKNOWN:     error[unknown-pass]: lumir has no pass 'lumir-check-dialect'
// UNKNOWN-NEXT: help:  did you mean 'lumir-check-dialects'?
// VERSION:     lumir-opt, version
