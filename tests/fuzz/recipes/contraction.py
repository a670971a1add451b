# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""Matrix products."""

from tests.fuzz.grower import Domain, Grower
from tests.fuzz.recipes.table import recipe
from tests.fuzz.values import FLOATS, Value

SMALL = Domain(-100, 100)
NUMBERS = (*FLOATS, "int32", "int64", "uint32")
EQUATIONS = (
    "ij,jk->ik", "bij,bjk->bik", "ij,kj->ik", "ij,ij->ij", "ij->ji", "ij->i", "ij->", "i,j->ij", "i,i->", "ij,jk",
    "bhid,bhjd->bhij", "bhij,bhjd->bihd", "ij,j->i", "...ij,...jk->...ik", "bi,bj->bij", "ii->i", "ii->", "ijk,jl->lik",
    "ij,jk,kl->il", "bij,kj->bki", "abc,cd,be->aed", "i,ij,j->", "ij,ik->jk", "...i,...i->...", "ijkl,jm->imkl",
)  # fmt: skip
SIZES = (3, 1, 2, 5, 8, 17)


@recipe("contraction", "MatMul")
def matmul(g: Grower, op: str) -> None:
    """Vectors, matrices, and stacks of them that broadcast."""
    x = g.pick(NUMBERS, (1, 4), SMALL)
    n, k = g.choose((5, 1, 2, 8, 16, 33)), x.shape[-1]
    if x.rank == 1:
        dims = [*g.shape(0, 1, 8), k, n] if g.flag() else [k]
    else:
        batch = g.broadcastable(x.shape[:-2]) if g.flag() else ()
        dims = [k] if g.flag(8) else [*batch, k, n]
    g.add("MatMul", [x, g.like(x.dtype, dims, SMALL)], exact=x.dtype not in FLOATS)


@recipe("contraction", "MatMul of two results")
def matmul_chain(g: Grower, op: str) -> None:
    """x y where y comes from the graph, transposed into place if need be."""
    x = g.pick(FLOATS, (2, 4), SMALL)
    y = g.pick((x.dtype,), (2, 2), SMALL, lambda v: x.shape[-1] in v.shape, lambda: (x.shape[-1], g.choose(SIZES)))
    if y.shape[0] != x.shape[-1]:
        (y,) = g.add("Transpose", [y], exact=True, perm=[1, 0])
    g.add("MatMul", [x, y])


@recipe("contraction", "Gemm")
def gemm(g: Grower, op: str) -> None:
    a = g.pick(NUMBERS, (2, 2), SMALL)
    left, right = int(g.flag()), int(g.flag())
    k, m = a.shape if left else a.shape[::-1]
    n = g.choose((5, 1, 2, 8, 16, 33))
    b = g.like(a.dtype, (n, k) if right else (k, n), SMALL)
    c = [] if g.flag(3) else [g.like(a.dtype, g.choose([(n,), (m, n), (1, n), (m, 1), (1,), ()]), SMALL)]
    scales = {name: g.choose((None, 0.5, 2.0, 1.0)) if a.dtype in FLOATS else None for name in ("alpha", "beta")}
    g.add("Gemm", [a, b, *c], exact=a.dtype not in FLOATS, transA=left or None, transB=right or None, **scales)


@recipe("contraction", "Einsum")
def einsum(g: Grower, op: str) -> None:
    equation = g.choose(EQUATIONS)
    dtype = g.choose(("float32", "float32", "float64", "int32"))
    sizes: dict[str, int] = {}
    prefix = g.shape(0, 2, 12) if "..." in equation else ()
    operands: list[Value] = []
    for term in equation.split("->")[0].split(","):
        letters = term.replace("...", "")
        for letter in letters:
            sizes.setdefault(letter, g.choose(SIZES))
        dims = [*(prefix if "..." in term else ()), *(sizes[letter] for letter in letters)]
        operands.append(g.like(dtype, dims, SMALL))
    g.add("Einsum", operands, exact=dtype == "int32", equation=equation)
