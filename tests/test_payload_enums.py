"""Enums of a notebook: to a job, and back to another kernel of the notebook."""

from __future__ import annotations

import sys

import pytest

from cells import Course, cases_in, travel

# Each case: what it shows, and the names that are sent; a cell that defines them; what must hold.
CASES = cases_in(
    """
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

=== enums that make, find and combine their members: E1 E2 E3 E4 e E5
import enum

@enum.unique
class E1(enum.Enum):
    A = enum.auto()
    B = enum.auto()

    @classmethod
    def _missing_(cls, value):
        return cls.A

class E2(enum.Flag):
    X = 1
    Y = 2
    Z = X | Y

class Base(enum.Enum):
    def shout(self):
        return self.name + "!"

class E3(Base):
    Q = "q"

class E4(enum.IntFlag):
    P = 1

class E5(enum.Enum):
    def __new__(cls, value, label):
        obj = object.__new__(cls)
        obj._value_ = value
        obj.label = label
        return obj

    ONE = (1, "one")
    TWO = (2, "two")

e = [E1.A, E2.Z, E3.Q, E4.P, E5.TWO, {E1.B: 1}]
---
assert e[0] is E1.A and E1(99) is E1.A and e[1] is E2.X | E2.Y and e[2].shout() == "Q!"
assert e[3] == 1 and E5.TWO.label == "two" and E5(2) is E5.TWO and e[5][E1.B] == 1
assert isinstance(e[3], E4)
"""
)
if sys.version_info >= (3, 11):
    CASES |= cases_in(
        """
=== enums with what 3.11 brought: Spelled spelled Some Kept
import enum

class Spelled(enum.StrEnum):
    AB = enum.auto()

class Some(enum.Enum):
    A = 1
    helper = enum.nonmember(5)

    @enum.member
    def act():
        return 3

class Kept(enum.Flag, boundary=enum.KEEP):
    A = 1

spelled = [Spelled.AB, Kept(5)]
---
assert spelled[0] is Spelled.AB and spelled[0] == "ab" and spelled[1].value == 5
assert Some.helper == 5 and Some.act.value() == 3 and list(Some) == [Some.A, Some.act]
"""
    )


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """All cases, on their way through three processes."""
    return travel(CASES, tmp_path_factory.mktemp("course"))


@pytest.mark.parametrize("name", CASES)
def test_enums_work_in_the_job_and_in_another_kernel(course: Course, name: str) -> None:
    assert course.kernel.get(name, "") == ""
    assert course.job.get(name, "") == ""
    assert course.next_kernel.get(name, "") == ""
