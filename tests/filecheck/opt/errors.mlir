// RUN: not lumir-opt %s --canonicalise 2>&1 | filecheck %s --check-prefix=FLAG
// RUN: not lumir-opt %s --zzzzzz 2>&1 | filecheck %s --check-prefix=NOFLAG
// RUN: not lumir-opt %s --cse --pass-pipeline='builtin.module(cse)' 2>&1 | filecheck %s --check-prefix=BOTH
// RUN: not lumir-opt %s %s 2>&1 | filecheck %s --check-prefix=FILES
// RUN: not lumir-opt %t.missing 2>&1 | filecheck %s --check-prefix=MISSING
// RUN: not lumir-opt %s --pass-pipeline='builtin.module(cse' 2>&1 | filecheck %s --check-prefix=SYNTAX
// RUN: not lumir-opt %s --pass-pipeline='builtin.module(func.func(convert-cf-to-llvm))' 2>&1 | filecheck %s --check-prefix=ANCHOR
// RUN: not lumir-opt %s --lumir-check-dialects=allow=func 2>&1 | filecheck %s --check-prefix=OPTION
// RUN: not lumir-opt %s --emit-bytecode=perhaps 2>&1 | filecheck %s --check-prefix=USAGE
// RUN: not env LUMIR_DUMPDIR=/ lumir-opt %s 2>&1 | filecheck %s --check-prefix=VARIABLE

// FLAG:       error[unknown-flag]: '--canonicalise' is neither an option of lumir-opt nor a pass
// FLAG-NEXT:    help: did you mean 'canonicalize'?
// NOFLAG:       help: see lumir-opt --help and --list-passes
// BOTH:       error[usage]: --pass-pipeline cannot be used with passes as flags
// BOTH-NEXT:    flags: --cse
// FILES:      error[usage]: more than one input file
// MISSING:    error[no-input]: cannot open input file '{{.*}}missing': No such file or directory
// SYNTAX:     error[pipeline-syntax]: expected ',' or ')', at column 19
// SYNTAX-NEXT:  pipeline: builtin.module(cse
// ANCHOR:     error[wrong-anchor]: pass 'convert-cf-to-llvm' runs on builtin.module, not on func.func
// OPTION:     error[unknown-option]: pass 'lumir-check-dialects' has no option 'allow'
// OPTION-NEXT:  options: allowed (list of text, separated by commas; required); by (text, or none; default none)
// OPTION-NEXT:  help: did you mean 'allowed'?
// USAGE:      error[usage]: Invalid value for '--emit-bytecode'
// VARIABLE:   error[unknown-variable]: unknown environment variable LUMIR_DUMPDIR
// VARIABLE:     help: did you mean LUMIR_DUMP_DIR?
func.func @f() {
  return
}
