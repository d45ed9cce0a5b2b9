"""Classes that libraries help to make: to a job, and back to another kernel of the notebook."""

from __future__ import annotations

import sys

import pytest

from cells import Course, cases_in, travel

# Each case: what it shows, and the names that are sent; a cell that defines them; what must hold.
CASES = cases_in(
    """
=== a dataclass: Data data
import dataclasses

@dataclasses.dataclass(order=True)
class Data:
    x: int
    y: list = dataclasses.field(default_factory=list)
    z: int = dataclasses.field(default=3, kw_only=True)

data = Data(1)
---
import dataclasses

assert data == Data(1) and data < Data(2) and data.y is not Data(1).y
assert dataclasses.replace(data, x=4).x == 4 and dataclasses.asdict(data)["z"] == 3
assert dataclasses.fields(Data)[0].default is dataclasses.MISSING

@dataclasses.dataclass
class More(Data):
    w: int = 5

assert More(1).w == 5

=== a dataclass with slots, frozen: Slotted slotted Frozen frozen
import dataclasses

@dataclasses.dataclass(slots=True)
class Slotted:
    x: int

    def get(self):
        return self.x

@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int

slotted, frozen = Slotted(1), Frozen(2)
---
assert not hasattr(slotted, "__dict__") and not hasattr(frozen, "__dict__")
assert slotted == Slotted(1) and slotted.get() == 1 and hash(frozen) == hash(Frozen(2))
try:
    frozen.x = 3
except Exception as e:
    assert type(e).__name__ == "FrozenInstanceError"
else:
    raise AssertionError

=== an abstract class: Shape square Foreign
import abc

class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...

class Square(Shape):
    def area(self):
        return 4

class Foreign:
    pass

Shape.register(Foreign)
square = Square()
---
assert isinstance(square, Shape) and issubclass(Foreign, Shape) and square.area() == 4
try:
    Shape()
except TypeError:
    pass
else:
    raise AssertionError

=== named tuples: Point point Old old
import typing, collections

class Point(typing.NamedTuple):
    x: int
    y: int = 2

    def norm(self):
        return self.x + self.y

Old = collections.namedtuple("Old", "a b")
point, old = Point(1), Old(1, 2)
---
assert point == (1, 2) and point.norm() == 3 and point._replace(x=5).x == 5
assert (
    type(old) is Old and old._asdict() == {"a": 1, "b": 2} and Point._fields == ("x", "y")
)

=== generic classes, protocols and typed dicts: Box Ints box Sized Movie alias
import typing

T = typing.TypeVar("T")

class Box(typing.Generic[T]):
    def __init__(self, item: T):
        self.item = item

class Ints(Box[int]):
    pass

@typing.runtime_checkable
class Sized(typing.Protocol):
    def size(self) -> int: ...

class Movie(typing.TypedDict):
    title: str

box, alias = Ints(3), Box[int]
---
assert box.item == 3 and isinstance(box, Box) and alias(4).item == 4
assert Box[str].__origin__ is Box and Movie(title="x") == {"title": "x"}

class Some:
    def size(self):
        return 1

assert isinstance(Some(), Sized)

=== attrs: Attrs some Ice ice
import attrs

@attrs.define
class Attrs:
    x: int
    y: list = attrs.field(factory=list)

    def get(self):
        return super().__repr__()

@attrs.frozen
class Ice:
    x: int = 1

some, ice = Attrs(1), Ice()
---
import attrs

assert some == Attrs(1) and attrs.asdict(some) == {"x": 1, "y": []}
assert hash(ice) == hash(Ice(1)) and not hasattr(some, "__dict__") and some.get()
assert attrs.evolve(ice, x=2).x == 2

=== exceptions: Problem problem
class Problem(ValueError):
    def __init__(self, a, b):
        super().__init__(f"{a} {b}")
        self.a = a

    def __reduce__(self):
        return Problem, (self.a, "b")

problem = Problem(1, "b")
---
assert type(problem) is Problem and problem.a == 1 and str(problem) == "1 b"

=== classes of builtin and library kinds: Bag bag names stack
import collections, threading

class Bag(dict):
    def total(self):
        return sum(self.values())

class Names(collections.UserList):
    def first(self):
        return self[0]

class Stack(list):
    __slots__ = ("top",)

bag, names, stack = Bag(a=1, b=2), Names(["x"]), Stack([1])
stack.top = bag
---
assert bag.total() == 3 and names.first() == "x" and stack == [1] and stack.top is bag
assert type(bag) is Bag and not hasattr(stack, "__dict__")

=== an exception that was raised: err
class Err(Exception):
    def __init__(self, a, *, b):
        super().__init__(a)
        self.b = b

try:
    try:
        raise KeyError(1)
    except KeyError as k:
        raise Err(2, b=3) from k
except Err as x:
    err = x
---
assert err.args == (2,) and err.b == 3

=== exceptions whose arguments are not those of their class: errs
class MyErr(ValueError):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code

class MyOs(OSError):
    def __init__(self, a):
        super().__init__(2, a)

class Quiet(Exception):
    def __init__(self, a):
        self.a = a

errs = [
    MyErr(1, "m"),
    1,
    Quiet(4),
    ExceptionGroup("g", [MyErr(2, "q")]) if "ExceptionGroup" in dir(__builtins__) else None,
]
---
assert str(errs[0]) == "1: m" and errs[0].code == 1 and errs[2].a == 4

=== a dataclass that holds its instances, with slots: Pt pt
import dataclasses

@dataclasses.dataclass(frozen=True, slots=True)
class Pt:
    x: int = 0

Pt.ORIGIN = Pt()
Pt.NAMES = {Pt(1): "one"}
pt = Pt(1)
---
assert Pt.ORIGIN == Pt() and Pt.NAMES[pt] == "one"

=== dataclasses with fields of all kinds: D1 d1 D2 d2
import dataclasses, typing

@dataclasses.dataclass
class D1:
    a: int
    b: typing.ClassVar[int] = 3
    c: dataclasses.InitVar[int] = 4
    _: dataclasses.KW_ONLY
    d: int = 5

    def __post_init__(self, c):
        self.e = c

@dataclasses.dataclass(unsafe_hash=True)
class D2(D1):
    f: "D2 | None" = None

d1 = D1(1)
d2 = D2(2, f=D2(3))
---
import dataclasses

assert (
    d1.e == 4
    and D1(1, 7).e == 7
    and D1.b == 3
    and [f.name for f in dataclasses.fields(D2)] == ["a", "d", "f"]
)
assert (
    dataclasses.replace(d1, a=9, c=1).a == 9
    and hash(d2.f) == hash(D2(3))
    and D1(1, d=6).d == 6
)
try:
    D1(1, 2, 3)
except TypeError:
    pass
else:
    raise AssertionError

=== abstract generic classes with slots: G g P2 Node
import typing, abc

T = typing.TypeVar("T")
K = typing.TypeVar("K", bound=str)

class G(abc.ABC, typing.Generic[T, K]):
    __slots__ = ("v",)

    def __init_subclass__(cls, **kw):
        super().__init_subclass__(**kw)
        cls.tag = cls.__name__

    @abc.abstractmethod
    def f(self) -> T: ...

class G2(G[int, str]):
    __slots__ = ()

    def f(self):
        return self.v

class P2(typing.Protocol[T]):
    def m(self) -> T: ...

class Node(typing.Generic[T]):
    child: "Node[T] | None" = None

g = G2()
g.v = 3
---
assert (
    g.f() == 3
    and type(g).tag == "G2"
    and not hasattr(g, "__dict__")
    and g.__class__.__orig_bases__[0].__origin__ is G
)
assert Node[int]().child is None
try:
    G()
except TypeError:
    pass
else:
    raise AssertionError
"""
)
if sys.version_info >= (3, 11):
    CASES |= cases_in(
        """
=== any number of parameters of types: Several several
import typing

Ts = typing.TypeVarTuple("Ts")

class Several(typing.Generic[typing.Unpack[Ts]]):
    pass

several = Several[int, str]()
---
assert isinstance(several, Several)
"""
    )
if sys.version_info >= (3, 12):
    CASES |= cases_in(
        """
=== parameters of types in brackets: Crate crate first Either
class Crate[T]:
    def __init__(self, x: T):
        self.x = x

    def get(self) -> T:
        return self.x

def first[T](xs: list[T]) -> T:
    return xs[0]

type Either = int | str
crate = Crate[int](3)
---
assert crate.get() == 3 and first([1]) == 1 and Crate[str].__origin__ is Crate
assert Either.__value__ == int | str and Crate.__type_params__[0].__name__ == "T"
"""
    )


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """All cases, on their way through three processes."""
    return travel(CASES, tmp_path_factory.mktemp("course"))


@pytest.mark.parametrize("name", CASES)
def test_kinds_of_classes_work_in_the_job_and_in_another_kernel(course: Course, name: str) -> None:
    assert course.kernel.get(name, "") == ""
    assert course.job.get(name, "") == ""
    assert course.next_kernel.get(name, "") == ""
