"""Every pass and named pipeline of lumir, as text, so that naming one does not import the others.

A pass is added by one line here and one file: `lumir-fuse-attention` is `lumir/graph/fuse_attention.py`.
"""

PASSES: dict[str, str] = {
    "lumir-canonicalize": "lumir.graph.canonicalize:Canonicalize",
    "lumir-contract-integers": "lumir.graph.contract_integers:ContractIntegers",
    "lumir-fuse-attention": "lumir.graph.fuse_attention:FuseAttention",
    "lumir-merge-contractions": "lumir.graph.merge_contractions:MergeContractions",
    "lumir-fuse-normalization": "lumir.graph.fuse_normalization:FuseNormalization",
    "lumir-allow-tf32": "lumir.graph.allow_tf32:AllowTf32",
    "lumir-lay-weights": "lumir.graph.lay_weights:LayWeights",
    "lumir-fold-constants": "lumir.graph.fold_constants:FoldConstants",
    "lumir-channels-last": "lumir.graph.channels_last:ChannelsLast",
    "lumir-fold-columns": "lumir.graph.fold_columns:FoldColumns",
    "lumir-merge-groups": "lumir.graph.merge_groups:MergeGroups",
    "lumir-convert-precision": "lumir.graph.convert_precision:ConvertPrecision",
    "lumir-form-dispatches": "lumir.dispatch.form:FormDispatches",
    "lumir-outline-constants": "lumir.dispatch.outline_constants:OutlineConstants",
    "lumir-lower-to-linalg": "lumir.linalg.lower:LowerToLinalg",
    "lumir-split-dispatches": "lumir.schedule.split_dispatches:SplitDispatches",
    "lumir-pack-weights": "lumir.schedule.pack_weights:PackWeights",
    "lumir-mark-unwritten": "lumir.schedule.mark_unwritten:MarkUnwritten",
    "lumir-choose-schedules": "lumir.schedule.choose:ChooseSchedules",
    "lumir-emit-kernels": "lumir.kernels.emit:EmitKernels",
    "lumir-compile-kernels": "lumir.codegen.compile:CompileKernels",
    "lumir-assign-buffers": "lumir.plan.buffers:AssignBuffers",
    "lumir-check-dialects": "lumir.pipelines.boundary:CheckDialects",
}

PIPELINES: dict[str, str] = {
    "lumir-cleanup": "lumir.pipelines.named:cleanup",
}
