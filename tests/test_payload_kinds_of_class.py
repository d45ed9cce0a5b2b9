"""Classes that libraries help to make: to a job, and back to another kernel of the notebook."""

from __future__ import annotations

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

=== an enum: Colour colours
import enum

class Colour(enum.Enum):
    RED = 1
    GREEN = 2
    CRIMSON = 1

    @property
    def low(self):
        return self.name.lower()

colours = [Colour.RED]
---
assert colours[0] is Colour.RED is Colour(1) is Colour["CRIMSON"] is Colour.CRIMSON
assert colours[0].low == "red" and list(Colour.__members__) == ["RED", "GREEN", "CRIMSON"]

=== an enum whose members have attributes: Planet home
import enum

class Planet(enum.Enum):
    EARTH = (5.9, 6.3)
    MARS = (6.4, 3.3)

    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius

    def ratio(self):
        return self.mass / self.radius

home = Planet.EARTH
---
assert home is Planet.EARTH and Planet.MARS.mass == 6.4 and home.ratio() == 5.9 / 6.3

=== flags and enums of other types: Access access Level Word
import enum

class Access(enum.Flag):
    R = 1
    W = 2
    RW = 3

class Level(enum.IntEnum):
    LOW = enum.auto()
    HIGH = enum.auto()

class Word(str, enum.Enum):
    A = "a"

access = Access.R | Access.W
---
assert access is Access.RW and Access.R in access and Level.HIGH == 2 and Word("a") == "a"

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
