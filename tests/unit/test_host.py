"""LLVM IR -> object -> image -> mapped code, with the relocations and errors on the way."""

import ctypes

import numpy as np
import pytest
from runtime_helpers import ADD_IR, MATMUL_IR

from lumir.artifact.image import HostImage
from lumir.codegen.host import compile_assembly, compile_host, host_target, with_attributes
from lumir.codegen.host_executor import executor_object
from lumir.codegen.host_link import link_host
from lumir.diagnostics import InternalError, UserError
from lumir.runtime.memory import LoadedImage

CALL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)


def link(*modules: str, executor: bool = True, **options) -> HostImage:
    objects = {f"m{i}": compile_host(text, **options) for i, text in enumerate(modules)}
    return link_host(objects, executor=executor)


def run(image: HostImage, name: str, args: list[np.ndarray], scalars: tuple[int, ...] = (), grid: int = 1) -> None:
    """Serialise, load and call a kernel for each workgroup."""
    loaded = LoadedImage(HostImage.from_bytes(image.to_bytes()))
    slots = np.array([array.ctypes.data for array in args] + list(scalars), np.int64)
    function = CALL(loaded.symbol(name))
    for workgroup in range(grid):
        function(workgroup, slots.ctypes.data)


@pytest.mark.parametrize("opt_level", [0, 1, 2, 3])
@pytest.mark.parametrize("n", [1, 63, 64, 65, 1000])
def test_add(opt_level, n):
    rng = np.random.default_rng(n)
    a, b, c = rng.random(n, np.float32), rng.random(n, np.float32), np.zeros(n + 1, np.float32)
    run(link(ADD_IR, opt_level=opt_level), "add", [a, b, c], (n,), grid=-(-n // 64))
    assert (c[:n] == a + b).all()
    assert c[n] == 0


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3", "host"])
def test_matmul_with_memset_for_each_cpu(cpu):
    rng = np.random.default_rng(3)
    a, b = rng.random((5, 19), np.float32), rng.random((19, 37), np.float32)
    c = np.full((5, 37), np.nan, np.float32)
    run(link(MATMUL_IR, cpu=cpu), "matmul", [a, b, c], (37, 19), grid=5)
    np.testing.assert_allclose(c, a @ b, rtol=1e-5)


def test_loops_stay_loops():
    fill = """
    define void @fill(i64 %workgroup, ptr %args) {
    entry:
      %a = load ptr, ptr %args
      br label %loop
    loop:
      %i = phi i64 [ 0, %entry ], [ %next, %loop ]
      %at = getelementptr float, ptr %a, i64 %i
      store float 0.0, ptr %at
      %next = add i64 %i, 1
      %more = icmp ult i64 %next, 4096
      br i1 %more, label %loop, label %done
    done:
      ret void
    }"""
    assert "memset" not in compile_assembly(fill)
    a = np.ones(4097, np.float32)
    run(link(fill, executor=False), "fill", [a])
    assert not a[:4096].any()
    assert a[4096] == 1


def test_512_bit_vectors_where_the_cpu_has_them():
    text = """
    define void @twice(ptr %x) {
      %v = load <16 x float>, ptr %x
      %sum = fadd <16 x float> %v, %v
      store <16 x float> %sum, ptr %x
      ret void
    }
    """
    features = host_target()["features"]
    assert ("zmm" in compile_assembly(text)) == ("avx512f" in features)
    assert "zmm" not in compile_assembly(text, cpu="x86-64-v3")


def test_attributes_are_put_where_the_grammar_wants_them():
    text = """
    define void @plain(i64 %0, ptr %1) {
      ret void
    }
    define internal fastcc i64 @"odd (name"(ptr align(8) %0, i64 %1) local_unnamed_addr #0 align 16 {
      ret i64 %1
    }
    define void @caller(i64 %0, ptr %1) nounwind {
      %r = call fastcc i64 @"odd (name"(ptr %1, i64 %0)
      ret void
    }
    attributes #0 = { noinline }
    """
    assert with_attributes(text).count("no-builtins") == 3
    assert set(link(text).symbols) >= {"plain", "caller"}


def test_constants_jump_tables_and_calls_between_modules():
    tables = """
    @weights = private constant [4 x double] [double 1.5, double -2.0, double 4.0, double 0.25], align 32
    @exported = constant i64 42
    declare double @other(double)
    define void @tables(i64 %workgroup, ptr %args) {
    entry:
      %a = load ptr, ptr %args
      switch i64 %workgroup, label %rest [ i64 0, label %zero
        i64 1, label %one
        i64 2, label %two
        i64 3, label %three
        i64 4, label %four ]
    zero:
      br label %join
    one:
      br label %join
    two:
      br label %join
    three:
      br label %join
    four:
      br label %join
    rest:
      br label %join
    join:
      %v = phi double [ 10.0, %zero ], [ 77.0, %one ], [ 5.0, %two ], [ -3.0, %three ], [ 8.0, %four ], [ 0.0, %rest ]
      %which = and i64 %workgroup, 3
      %w_at = getelementptr [4 x double], ptr @weights, i64 0, i64 %which
      %w = load double, ptr %w_at
      %e = load i64, ptr @exported
      %ef = sitofp i64 %e to double
      %vw = fmul double %v, %w
      %sum = fadd double %vw, %ef
      %result = call double @other(double %sum)
      %to = getelementptr double, ptr %a, i64 %workgroup
      store double %result, ptr %to
      ret void
    }"""
    other = """
    define double @other(double %x) noinline {
      %y = fmul double %x, 2.0
      ret double %y
    }"""
    out = np.zeros(6)
    run(link(tables, other), "tables", [out], grid=6)
    weights = [1.5, -2.0, 4.0, 0.25]
    expected = [2 * (v * weights[i & 3] + 42) for i, v in enumerate([10, 77, 5, -3, 8, 0])]
    assert out.tolist() == expected


def test_addresses_in_data_are_relocated_at_load():
    table = """
    @targets = internal constant [2 x ptr] [ptr @double_it, ptr @negate_it]
    define internal i64 @double_it(i64 %x) {
      %y = mul i64 %x, 2
      ret i64 %y
    }
    define internal i64 @negate_it(i64 %x) {
      %y = sub i64 0, %x
      ret i64 %y
    }
    define void @dispatch(i64 %workgroup, ptr %args) {
      %a = load ptr, ptr %args
      %at = getelementptr [2 x ptr], ptr @targets, i64 0, i64 %workgroup
      %f = load ptr, ptr %at
      %to = getelementptr i64, ptr %a, i64 %workgroup
      %x = load i64, ptr %to
      %y = call i64 %f(i64 %x)
      store i64 %y, ptr %to
      ret void
    }"""
    image = link(table)
    assert len(image.relocations) == 2
    values = np.array([21, 5], np.int64)
    run(image, "dispatch", [values], grid=2)
    assert values.tolist() == [42, -5]


@pytest.mark.parametrize("n", [0, 1, 15, 63, 64, 65, 127, 128, 1000, 4096])
def test_memory_functions(n):
    loaded = LoadedImage(link_host({}))
    copy = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    fill = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    rng = np.random.default_rng(n)
    source = rng.integers(0, 256, n, np.uint8)
    for name in ("memcpy", "memmove"):
        target = np.full(n + 2, 7, np.uint8)
        copy(loaded.symbol(name))(target[1:].ctypes.data, source.ctypes.data, n)
        assert target.tolist() == [7, *source, 7]
    for shift in (-65, -64, -1, 0, 1, 3, 64, 100):
        memory = rng.integers(0, 256, n + 200, np.uint8)
        expected = memory.copy()
        expected[100 + shift : 100 + shift + n] = memory[100 : 100 + n]
        copy(loaded.symbol("memmove"))(memory[100 + shift :].ctypes.data, memory[100:].ctypes.data, n)
        assert (memory == expected).all()
    target = np.full(n + 2, 7, np.uint8)
    fill(loaded.symbol("memset"))(target[1:].ctypes.data, 0x1FE, n)
    assert target.tolist() == [7, *[0xFE] * n, 7]


def test_undefined_symbol_is_named():
    remainder = "define float @f(float %a, float %b) {\n %c = frem float %a, %b\n ret float %c\n}"
    with pytest.raises(InternalError, match="call functions that are not there: fmodf") as caught:
        link(remainder)
    assert caught.value.code == "undefined-symbol"
    assert "called in m0" in str(caught.value)


def test_two_functions_of_one_name():
    function = "define void @twice(i64 %w, ptr %a) {\n ret void\n}"
    with pytest.raises(InternalError, match="m0 and m1 both define twice") as caught:
        link(function, function)
    assert caught.value.code == "duplicate-symbol"


def test_writable_data_is_refused():
    counter = """
    @count = global i64 5
    define void @bump(i64 %w, ptr %a) {
      %n = load i64, ptr @count
      %m = add i64 %n, 1
      store i64 %m, ptr @count
      ret void
    }"""
    with pytest.raises(InternalError, match="holds writable data"):
        link(counter)


def test_bad_ir_and_bad_cpu():
    with pytest.raises(InternalError, match="LLVM rejects the IR"):
        compile_host("define void @f( {")
    with pytest.raises(UserError, match="unknown CPU 'z80'"):
        compile_host(ADD_IR, cpu="z80")
    with pytest.raises(InternalError, match="not an x86-64 relocatable"):
        link_host({"k": b"not ELF"})


def test_host_target_lists_features():
    features = host_target("x86-64-v3")["features"]
    assert features == sorted(features)
    assert {"avx2", "fma", "f16c", "sse4.2"} <= set(features)
    assert "avx512f" not in features
    assert host_target()["kind"] == "cpu"


def test_same_ir_gives_the_same_image():
    executor_object.cache_clear()
    first = link(ADD_IR, MATMUL_IR).to_bytes()
    executor_object.cache_clear()
    assert link(ADD_IR, MATMUL_IR).to_bytes() == first


def test_image_reader_checks_bounds():
    good = HostImage(bytes(100), {"f": 0}, 64, (8,))
    assert HostImage.from_bytes(good.to_bytes()) == good
    for bad in (
        b"",
        b"LUMIRX64",
        good.to_bytes()[:-1],
        HostImage(bytes(100), {"f": 100}).to_bytes(),
        HostImage(bytes(100), {"f": -1}).to_bytes(),
        HostImage(bytes(100), {}, 64, (93,)).to_bytes(),
        HostImage(bytes(100), {}, 0).to_bytes(),
        good.to_bytes().replace(b"alignment", b"alinement"),
        good.to_bytes().replace(b"{", b"!"),
    ):
        with pytest.raises(UserError) as caught:
            HostImage.from_bytes(bad)
        assert caught.value.code == "bad-artifact"


def test_missing_function_of_an_image():
    with pytest.raises(UserError, match="no function 'g'"):
        LoadedImage(link_host({})).symbol("g")
