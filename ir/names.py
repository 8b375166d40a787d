"""Names: one allow-list at the door, one spelling in emitted source.

    check_name("fc1.W")       # fine: parts of [A-Za-z][A-Za-z0-9_]{0,62}, dots between them
    identifier("fc1.W")       # "fc1_W": the same in C and Python

Every name that a user gives passes `check_name` before it reaches an expression, so no name can
carry code into emitted source, mathematics or pages.
"""

from __future__ import annotations

import keyword
import re
from functools import lru_cache

from ir.errors import InvalidNameError, Origin

_LONGEST_MADE = 56  # leaves room for a number and for d_
_PART = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}\Z", re.ASCII)

C_KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if "
    "inline int long register restrict return short signed sizeof static struct switch typedef "
    "union unsigned void volatile while asm typeof fortran alignas alignof bool constexpr false "
    "nullptr static_assert thread_local true typeof_unqual class new delete this throw try catch "
    "template typename namespace operator private public protected virtual friend explicit "
    "export mutable using and or not xor bitand bitor compl and_eq or_eq xor_eq not_eq "
    "static_cast dynamic_cast const_cast reinterpret_cast decltype noexcept typeid char8_t "
    "char16_t char32_t concept requires co_await co_return co_yield consteval constinit".split()
)
_RESERVED = frozenset(
    "main exp log tanh sin cos tan sqrt erf pow fabs floor ceil fmod asin acos atan atan2 sinh "
    "cosh expf logf tanhf sqrtf erff powf fabsf y0 y1 yn j0 j1 jn gamma lgamma tgamma signal time "
    "clock rand abs div index rows workspace params grads state seed order batch loss NULL "
    "INFINITY NAN I errno stdin stdout stderr int8_t int16_t int32_t int64_t uint8_t uint16_t "
    "uint32_t uint64_t size_t real np numpy np_ float32 float64 int32 int64 range len sum max min "
    "print type list dict tuple set id input open object "
    # what emitted modules call their own parts, and C what its compilers and headers bring along
    "NAME TARGET DTYPE MODEL_HASH MAX_BATCH PARAM_SHAPES GRADIENT_NAMES INPUTS OUTPUTS LOSS "
    "STATE_SHAPES HYPERPARAMETERS INDEX_LIMITS WORKSPACE_BYTES FLOPS_PER_STEP FLAGS BUILD_ID "
    "Array Arrays Outputs BuildError Path NamedTuple platform shlex subprocess annotations "
    "init_params init_state forward value_and_grad train_step train_epoch "
    "ptrdiff_t wchar_t intptr_t uintptr_t intmax_t uintmax_t memcpy memset memmove linux unix "
    "i386 EOF BUFSIZ HUGE MAXFLOAT DECIMAL_DIG".split()
)
_MACRO = re.compile(
    r"(U?INT[A-Z0-9_]*|PTRDIFF|SIZE|WCHAR|WINT|SIG|FLT|DBL|LDBL|FP|HUGE|MATH|M)_[A-Z0-9_]+\Z"
)


def check_name(name: object, what: str, at: Origin | None = None) -> str:
    """The name itself, or an `InvalidNameError` that says which rule it breaks."""
    if not isinstance(name, str):
        raise InvalidNameError(f"{what} must be a string, got {type(name).__name__}", at=at)
    for part in name.split("."):
        if not _PART.match(part):
            raise InvalidNameError(
                f"{what} {name[:80]!r} is not allowed",
                at=at,
                notes=(
                    (
                        "allowed: an ASCII letter, then letters, digits and _, "
                        "at most 63 a part, with dots between parts"
                    ),
                ),
                fix='use a name such as "fc1" or "block2.attention"',
            )
        if part.startswith("gw_"):
            raise InvalidNameError(
                f"{what} {name!r} starts with gw_, as the helpers of emitted C do",
                at=at,
                fix=f'use another name, for example "{part[3:] or "x"}"',
            )
        if keyword.iskeyword(part) or keyword.issoftkeyword(part) or part in C_KEYWORDS:
            raise InvalidNameError(
                f"{what} {name!r} is a keyword of Python or C",
                at=at,
                fix=f'use another name, for example "{part}_"',
            )
    return name


@lru_cache(maxsize=65536)
def identifier(name: str) -> str:
    """The spelling of a checked name in emitted source: `fc1.W` is `fc1_W`."""
    flat = name.replace(".", "_")
    return flat + "_" if flat in _RESERVED or _MACRO.match(flat) else flat


def fresh(base: str, taken: set[str]) -> str:
    """`base`, or `base_2`, `base_3`, …: the first that is not taken as a name or identifier.

    Names of our own making are clipped to what the allow-list takes.
    """
    base = candidate = ".".join(part[:_LONGEST_MADE] for part in base.split("."))
    spelled, count = set(map(identifier, taken)), 1
    while candidate in taken or identifier(candidate) in spelled:
        count += 1
        candidate = f"{base}_{count}"
    taken.add(candidate)
    return candidate
