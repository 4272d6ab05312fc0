"""Sixteen float32 lanes as a value inside numba code.

LLVM's own vectoriser gives up on a loop over ten rows of one array, because it cannot prove that they do not overlap.
Here the vectors are spelled out: `Lanes` is a numba type for LLVM's `<16 x float>`, with `+ - *` and the few functions
below, so a kernel reads like scalar code and becomes AVX-512, AVX2, SSE or NEON, whatever the machine has.

Arithmetic may be fused and reciprocal square roots may be estimates with one Newton step, but nothing assumes that NaN
and infinity are absent. All lanes obey the same rules, so the same build on the same machine gives the same bits.

Numba's disk cache watches only the file that a kernel stands in: after an edit here, touch those that use it.
"""
# Numba calls the code generators with its own untyped objects:
# ruff: noqa: ANN001, ANN201, ANN202, ANN401, ARG001, ARG002
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, import-untyped"

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import lower_builtin, models, register_model

from workers.flow.tvl1.cpu.medians import COLUMN_SORT, MEDIAN_NETWORK, MEDIAN_PLACE

WIDTH = 16
_F32 = ir.FloatType()
_I32 = ir.IntType(32)
_VEC = ir.VectorType(_F32, WIDTH)
_QUAD = ir.VectorType(_F32, 4)
_FLAGS = ("reassoc", "contract", "arcp", "afn", "nsz")
# Numba's own type forgets that the first argument of what it wraps is never given.
intrinsic: Callable[[Any], Any] = numba_intrinsic


class LanesType(types.Type):
    """Numba's type of sixteen float32 values held in vector registers."""

    def __init__(self) -> None:
        super().__init__(name="f32x16")


Lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, _VEC)


def _operator(python_operator: Any, emit: Callable[..., Any]) -> None:
    @infer_global(python_operator)
    class _Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and all(isinstance(arg, LanesType) for arg in args):
                return signature(Lanes, Lanes, Lanes)
            return None

    @lower_builtin(python_operator, LanesType, LanesType)
    def _lower(context, builder, sig, args):
        return emit(builder, *args)


_operator(operator.add, lambda b, x, y: b.fadd(x, y, flags=_FLAGS))
_operator(operator.sub, lambda b, x, y: b.fsub(x, y, flags=_FLAGS))
_operator(operator.mul, lambda b, x, y: b.fmul(x, y, flags=_FLAGS))


def _minimum(b, x, y):
    return b.select(b.fcmp_ordered("<", x, y), x, y)


def _maximum(b, x, y):
    return b.select(b.fcmp_ordered(">", x, y), x, y)


def _shuffle(b, x, y, order):
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(_I32, len(order)), list(order)))


def _splat(b, scalar, vector_type):
    undefined = ir.Constant(vector_type, ir.Undefined)
    return _shuffle(b, b.insert_element(undefined, scalar, ir.Constant(_I32, 0)), undefined, [0] * vector_type.count)


def _pointer(context, b, array_type, array, index, vector_type):
    data = context.make_array(array_type)(context, b, array).data
    return b.bitcast(b.gep(data, [index]), vector_type.as_pointer())


def _unary(name: str) -> Any:
    def emit(b, x):
        function = cgutils.get_or_insert_function(b.module, ir.FunctionType(_VEC, [_VEC]), f"llvm.{name}.v{WIDTH}f32")
        return b.call(function, [x], fastmath=_FLAGS)

    return emit


def _function(arity: int, emit: Callable[..., Any], doc: str) -> Any:
    """A numba function from lanes to lanes out of an LLVM code generator."""

    def codegen(context, builder, sig, args):
        return emit(builder, *args)

    def one(typingctx, x):
        return Lanes(Lanes), codegen

    def two(typingctx, x, y):
        return Lanes(Lanes, Lanes), codegen

    function = {1: one, 2: two}[arity]
    function.__doc__ = doc
    return intrinsic(function)


floor = _function(1, _unary("floor"), "Largest whole number not above each lane.")
sqrt = _function(1, _unary("sqrt"), "Square root of each lane.")
rsqrt = _function(
    1,
    lambda b, x: b.fdiv(ir.Constant(_VEC, [1.0] * WIDTH), _unary("sqrt")(b, x), flags=_FLAGS),
    "One over the square root of each lane, which must be above zero.",
)
minimum = _function(2, _minimum, "The smaller of two values, lane by lane.")
maximum = _function(2, _maximum, "The larger of two values, lane by lane.")
equal = _function(
    2,
    lambda b, x, y: b.uitofp(b.fcmp_ordered("==", x, y), _VEC),
    "1 where two values are equal, else 0.",
)
from_left = _function(
    2,
    lambda b, before, x: _shuffle(b, before, x, range(WIDTH - 1, 2 * WIDTH - 1)),
    "Each lane's left neighbour; the first lane's is the last of `before`.",
)
from_right = _function(
    2,
    lambda b, x, after: _shuffle(b, x, after, range(1, WIDTH + 1)),
    "Each lane's right neighbour; the last lane's is the first of `after`.",
)


@intrinsic
def splat(typingctx, scalar):
    """All lanes equal to one float32."""

    def codegen(context, builder, sig, args):
        return _splat(builder, context.cast(builder, args[0], sig.args[0], types.float32), _VEC)

    return Lanes(scalar), codegen


@intrinsic
def ramp(typingctx):
    """The lanes 0, 1, 2 ... 15."""

    def codegen(context, builder, sig, args):
        return ir.Constant(_VEC, [float(lane) for lane in range(WIDTH)])

    return Lanes(), codegen


@intrinsic
def load(typingctx, array, index):
    """Sixteen neighbours of a flat float32 array from `index` on; no alignment needed, no bounds checked."""

    def codegen(context, builder, sig, args):
        return builder.load(_pointer(context, builder, sig.args[0], args[0], args[1], _VEC), align=4)

    return Lanes(array, types.intp), codegen


@intrinsic
def store(typingctx, array, index, value):
    """Write sixteen neighbours of a flat float32 array from `index` on."""

    def codegen(context, builder, sig, args):
        builder.store(args[2], _pointer(context, builder, sig.args[0], args[0], args[1], _VEC), align=4)
        return context.get_dummy_value()

    return types.none(array, types.intp, Lanes), codegen


_PAIRS = [[base + 4 * j + 2 * half + k for j in range(4) for base in (0, WIDTH) for k in (0, 1)] for half in (0, 1)]


def _interleave(b, x, y, side):
    """In each group of four lanes: x[side], y[side], x[side + 1], y[side + 1]."""
    return _shuffle(b, x, y, [base + 4 * j + side + k for j in range(4) for k in (0, 1) for base in (0, WIDTH)])


def _join(b, quads):
    left, right = (_shuffle(b, quads[k], quads[k + 1], range(8)) for k in (0, 2))
    return _shuffle(b, left, right, range(WIDTH))


@intrinsic
def gather4(typingctx, array, origin, stride, column, row):
    """Four neighbours at sixteen places: lanes (k) of `array[origin + row * stride + column + k]` for k = 0..3.

    `column` and `row` hold whole numbers. Sixteen short loads and a transposition in registers cost a quarter of four
    gather instructions.
    """

    def codegen(context, builder, sig, args):
        b, (array_, origin_, stride_, column_, row_) = builder, args
        whole = ir.VectorType(ir.IntType(64), WIDTH)
        place = b.add(b.mul(b.fptosi(row_, whole), _splat(b, stride_, whole)), b.fptosi(column_, whole))
        quads = []
        for lane in range(WIDTH):
            index = b.add(origin_, b.extract_element(place, ir.Constant(_I32, lane)))
            quads.append(b.load(_pointer(context, b, sig.args[0], array_, index, _QUAD), align=4))
        rows = [_join(b, quads[k::4]) for k in range(4)]  # lane 4 j + c of rows[k]: tap c at place 4 j + k
        taps = []
        for side in (0, 2):
            low, high = (_interleave(b, rows[k], rows[k + 1], side) for k in (0, 2))
            taps += [_shuffle(b, low, high, _PAIRS[half]) for half in (0, 1)]
        return context.make_tuple(b, sig.return_type, taps)

    return types.UniTuple(Lanes, 4)(array, types.intp, types.intp, Lanes, Lanes), codegen


def _exchange(b, values, network):
    """Apply a network; LLVM drops what no result depends on."""
    for low, high in network:
        x, y = values[low], values[high]
        values[low], values[high] = _minimum(b, x, y), _maximum(b, x, y)
    return values


def _sorted_column(side: int) -> Any:
    @intrinsic
    def sorted_column(typingctx, array, index, stride):
        """The `side` values above, at and below `index`, `stride` apart, sorted lane by lane."""

        def codegen(context, builder, sig, args):
            b, (array_, index_, stride_) = builder, args
            values = []
            for step in range(-(side // 2), side // 2 + 1):
                place = b.add(index_, b.mul(stride_, ir.Constant(stride_.type, step)))
                values.append(b.load(_pointer(context, b, sig.args[0], array_, place, _VEC), align=4))
            return context.make_tuple(b, sig.return_type, _exchange(b, values, COLUMN_SORT[side]))

        return types.UniTuple(Lanes, side)(array, types.intp, types.intp), codegen

    return sorted_column


def _median_of_columns(side: int) -> Any:
    @intrinsic
    def median_of_columns(typingctx, array, index, stride):
        """Median of the square centred on column `index` of `side` rows of sorted columns, `stride` apart."""

        def codegen(context, builder, sig, args):
            b, (array_, index_, stride_) = builder, args
            values = []
            for row in range(side):
                for step in range(-(side // 2), side // 2 + 1):
                    place = b.add(index_, b.mul(stride_, ir.Constant(stride_.type, row)))
                    place = b.add(place, ir.Constant(place.type, step))
                    values.append(b.load(_pointer(context, b, sig.args[0], array_, place, _VEC), align=4))
            return _exchange(b, values, MEDIAN_NETWORK[side])[MEDIAN_PLACE[side]]

        return Lanes(array, types.intp, types.intp), codegen

    return median_of_columns


sorted_column3, sorted_column5 = _sorted_column(3), _sorted_column(5)
median_of_columns3, median_of_columns5 = _median_of_columns(3), _median_of_columns(5)
