"""Functions and classes of a notebook: to a job, and back to another kernel of the notebook.

Each case is a cell that defines them, the names that are sent, and what must hold wherever they
come to. All cases go the same way: a kernel runs the cells and saves the names; a job, where nothing
is defined, loads them, checks and saves them again; another kernel, which has run the same cells,
loads what the job saved and checks again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from cells import run_cell


class Case(NamedTuple):
    """A cell, the names to send, and statements that must hold."""

    defined: str
    names: str
    checks: str


CASES = {
    "a function sees its globals as they are now": Case(
        "k = 3\ndef times_k(x): return x * k",
        "times_k k",
        "assert times_k(2) == 6\nk = 5\nassert times_k(2) == 10\nk = 3\n"
        "assert times_k.__globals__ is globals() and times_k.__module__ == '__main__'",
    ),
    "a function keeps defaults, annotations and attributes": Case(
        "def annotated(a: int, b: str = 'x', *, c: list = [1]) -> dict:\n"
        "    'Says more.'\n    return (a, b, c)\nannotated.calls = 7",
        "annotated",
        "assert annotated(1) == (1, 'x', [1]) and annotated.calls == 7\n"
        "assert annotated.__annotations__ == {'a': int, 'b': str, 'c': list, 'return': dict}\n"
        "assert annotated.__doc__ == 'Says more.'",
    ),
    "recursion": Case(
        "def fact(n): return n * fact(n - 1) if n else 1\n"
        "def closed():\n    def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
        "    return fib\nfib = closed()",
        "fact fib",
        "assert fact(5) == 120 and fib(10) == 55",
    ),
    "functions that share a variable of a closure": Case(
        "def counter():\n    n = 0\n    def inc():\n        nonlocal n; n += 1; return n\n"
        "    def get(): return n\n    return inc, get\ninc, get = counter()",
        "inc get",
        "n = get(); inc(); assert get() == n + 1",
    ),
    "lambdas in a dict, partials and bound methods": Case(
        "import functools\noffset = 1\n"
        "table = {'add': lambda x: x + offset, 'mul': functools.partial(lambda a, b: a * b, 3)}\n"
        "class Holder:\n    def double(self, x): return 2 * x\nbound = Holder().double",
        "table offset bound",
        "assert table['add'](1) == 2 and table['mul'](4) == 12 and bound(4) == 8",
    ),
    "decorators keep what they wrap": Case(
        "import functools, contextlib\ndef twice(f):\n    @functools.wraps(f)\n"
        "    def inner(*a): return 2 * f(*a)\n    return inner\n"
        "@twice\ndef one(): return 1\n"
        "@contextlib.contextmanager\ndef context(): yield 5",
        "one context",
        "assert one() == 2 and one.__wrapped__() == 1\nwith context() as c: assert c == 5",
    ),
    "lru_cache": Case(
        "import functools\n@functools.lru_cache(maxsize=7)\ndef cached(x): return [x]\n"
        "@functools.cache\ndef fibonacci(n): return n if n < 2 else fibonacci(n-1) + fibonacci(n-2)",
        "cached fibonacci",
        "assert cached(1) is cached(1) and cached.cache_parameters()['maxsize'] == 7\n"
        "assert fibonacci(60) == 1548008755920",
    ),
    "singledispatch": Case(
        "import functools\n@functools.singledispatch\ndef kind(x): return 'object'\n"
        "@kind.register\ndef _(x: int): return 'int'",
        "kind",
        "assert kind('') == 'object' and kind(1) == 'int'",
    ),
    "a generator function and a coroutine function": Case(
        "def numbers(n): yield from range(n)\nasync def waiting(): return 4",
        "numbers waiting",
        "assert list(numbers(3)) == [0, 1, 2]\n"
        "try: waiting().send(None)\nexcept StopIteration as stop: assert stop.value == 4",
    ),
    "generators behind module functions stay those of the module": Case(
        "import random\nfrom random import random as draw, seed as set_seed",
        "draw set_seed",
        "import random\nset_seed(1); a = draw(); random.seed(1); assert random.random() == a",
    ),
    "methods, super, property, static and class methods": Case(
        "class Base:\n    kind = 'base'\n    def __init__(self, x): self.x = x\n"
        "    def get(self): return self.x\n    @property\n    def double(self): return 2 * self.x\n"
        "    @double.setter\n    def double(self, value): self.x = value // 2\n"
        "class Derived(Base):\n    def get(self): return super().get() + 1\n"
        "    @staticmethod\n    def stat(a): return a\n"
        "    @classmethod\n    def of(cls, x): return cls(x)\nderived = Derived(4)",
        "Derived derived",
        "assert derived.get() == 5 and derived.double == 8 and Derived.stat(3) == 3\n"
        "derived.double = 6; assert derived.x == 3; derived.x = 4\n"
        "assert type(Derived.of(1)) is Derived and type(derived) is Derived\n"
        "assert Derived.__qualname__ == 'Derived' and Derived.__module__ == '__main__'",
    ),
    "a dataclass": Case(
        "import dataclasses\n@dataclasses.dataclass(order=True)\nclass Data:\n    x: int\n"
        "    y: list = dataclasses.field(default_factory=list)\n"
        "    z: int = dataclasses.field(default=3, kw_only=True)\ndata = Data(1)",
        "Data data",
        "import dataclasses\nassert data == Data(1) and data < Data(2) and data.y is not Data(1).y\n"
        "assert dataclasses.replace(data, x=4).x == 4 and dataclasses.asdict(data)['z'] == 3\n"
        "assert dataclasses.fields(Data)[0].default is dataclasses.MISSING\n"
        "@dataclasses.dataclass\nclass More(Data):\n    w: int = 5\nassert More(1).w == 5",
    ),
    "a dataclass with slots, frozen": Case(
        "import dataclasses\n@dataclasses.dataclass(slots=True)\nclass Slotted:\n    x: int\n"
        "    def get(self): return self.x\n@dataclasses.dataclass(frozen=True, slots=True)\n"
        "class Frozen:\n    x: int\nslotted, frozen = Slotted(1), Frozen(2)",
        "Slotted slotted Frozen frozen",
        "assert not hasattr(slotted, '__dict__') and not hasattr(frozen, '__dict__')\n"
        "assert slotted == Slotted(1) and slotted.get() == 1 and hash(frozen) == hash(Frozen(2))\n"
        "try: frozen.x = 3\nexcept Exception as e: assert type(e).__name__ == 'FrozenInstanceError'\n"
        "else: raise AssertionError",
    ),
    "slots, private and inherited": Case(
        "class Narrow:\n    __slots__ = ('a', '__hidden')\n"
        "    def __init__(self): self.a = 1; self.__hidden = 2\n"
        "    def hidden(self): return self.__hidden\n"
        "class Narrower(Narrow):\n    __slots__ = 'b'\n"
        "narrow, narrower = Narrow(), Narrower()\nnarrower.b = 3",
        "narrow narrower",
        "assert narrow.hidden() == 2 and narrower.hidden() == 2 and narrower.b == 3\n"
        "for each in (narrow, narrower): assert not hasattr(each, '__dict__')",
    ),
    "an enum": Case(
        "import enum\nclass Colour(enum.Enum):\n    RED = 1\n    GREEN = 2\n    CRIMSON = 1\n"
        "    @property\n    def low(self): return self.name.lower()\ncolours = [Colour.RED]",
        "Colour colours",
        "assert colours[0] is Colour.RED is Colour(1) is Colour['CRIMSON'] is Colour.CRIMSON\n"
        "assert colours[0].low == 'red' and list(Colour.__members__) == ['RED', 'GREEN', 'CRIMSON']",
    ),
    "an enum whose members have attributes": Case(
        "import enum\nclass Planet(enum.Enum):\n    EARTH = (5.9, 6.3)\n    MARS = (6.4, 3.3)\n"
        "    def __init__(self, mass, radius): self.mass, self.radius = mass, radius\n"
        "    def ratio(self): return self.mass / self.radius\nhome = Planet.EARTH",
        "Planet home",
        "assert home is Planet.EARTH and Planet.MARS.mass == 6.4 and home.ratio() == 5.9 / 6.3",
    ),
    "flags and enums of other types": Case(
        "import enum\nclass Access(enum.Flag):\n    R = 1\n    W = 2\n    RW = 3\n"
        "class Level(enum.IntEnum):\n    LOW = enum.auto()\n    HIGH = enum.auto()\n"
        "class Word(str, enum.Enum):\n    A = 'a'\naccess = Access.R | Access.W",
        "Access access Level Word",
        "assert access is Access.RW and Access.R in access and Level.HIGH == 2 and Word('a') == 'a'",
    ),
    "an abstract class": Case(
        "import abc\nclass Shape(abc.ABC):\n    @abc.abstractmethod\n    def area(self): ...\n"
        "class Square(Shape):\n    def area(self): return 4\n"
        "class Foreign: pass\nShape.register(Foreign)\nsquare = Square()",
        "Shape square Foreign",
        "assert isinstance(square, Shape) and issubclass(Foreign, Shape) and square.area() == 4\n"
        "try: Shape()\nexcept TypeError: pass\nelse: raise AssertionError",
    ),
    "named tuples": Case(
        "import typing, collections\nclass Point(typing.NamedTuple):\n    x: int\n    y: int = 2\n"
        "    def norm(self): return self.x + self.y\n"
        "Old = collections.namedtuple('Old', 'a b')\npoint, old = Point(1), Old(1, 2)",
        "Point point Old old",
        "assert point == (1, 2) and point.norm() == 3 and point._replace(x=5).x == 5\n"
        "assert type(old) is Old and old._asdict() == {'a': 1, 'b': 2} and Point._fields == ('x', 'y')",
    ),
    "generic classes, protocols and typed dicts": Case(
        "import typing\nT = typing.TypeVar('T')\nclass Box(typing.Generic[T]):\n"
        "    def __init__(self, item: T): self.item = item\n"
        "class Ints(Box[int]): pass\n"
        "@typing.runtime_checkable\nclass Sized(typing.Protocol):\n    def size(self) -> int: ...\n"
        "class Movie(typing.TypedDict):\n    title: str\nbox, alias = Ints(3), Box[int]",
        "Box Ints box Sized Movie alias",
        "assert box.item == 3 and isinstance(box, Box) and alias(4).item == 4\n"
        "assert Box[str].__origin__ is Box and Movie(title='x') == {'title': 'x'}\n"
        "class Some:\n    def size(self): return 1\nassert isinstance(Some(), Sized)",
    ),
    "new types and parameters of types": Case(
        "import typing\nUserId = typing.NewType('UserId', int)\nP = typing.ParamSpec('P')\n"
        "def who(user: UserId, other: typing.Callable[P, int] = len) -> UserId: return user",
        "who UserId",
        "assert who(UserId(3)) == 3 and who.__annotations__['return'] is UserId",
    ),
    "a value that is known by its name": Case(
        "class Missing:\n    def __reduce__(self): return 'MISSING'\n    def __repr__(self): return '-'\n"
        "MISSING = Missing()\nrow, other = [MISSING], [MISSING]",
        "row other MISSING",
        "assert row[0] is MISSING and other[0] is MISSING and repr(MISSING) == '-'",
    ),
    "nested classes, and a class of a function": Case(
        "class Outer:\n    class Inner:\n        def get(self): return 1\n"
        "def make():\n    class Local:\n        def get(self): return 2\n    return Local\n"
        "Local = make()\ninner, local = Outer.Inner(), Local()",
        "Outer inner Local local",
        "assert type(inner) is Outer.Inner and inner.get() == 1\n"
        "assert type(local) is Local and local.get() == 2 and '<locals>' in Local.__qualname__",
    ),
    "a metaclass with arguments": Case(
        "class Meta(type):\n    def __new__(m, name, bases, space, flag):\n"
        "        space['flag'] = flag; return super().__new__(m, name, bases, space)\n"
        "    def __init__(cls, name, bases, space, flag): cls.ready = True\n"
        "    def __len__(cls): return 42\nclass WithMeta(metaclass=Meta, flag=3): pass\n"
        "with_meta = WithMeta()",
        "WithMeta with_meta",
        "assert type(WithMeta).__name__ == 'Meta' and len(WithMeta) == 42\n"
        "assert with_meta.flag == 3 and with_meta.ready",
    ),
    "a class that is told of its subclasses": Case(
        "known = {}\nclass Plugin:\n    def __init_subclass__(cls, key, **rest):\n"
        "        super().__init_subclass__(**rest); known[key] = cls.name\n"
        "class Csv(Plugin, key='csv'):\n    name = 'a csv'\ncsv = Csv()",
        "Plugin Csv csv known",
        "assert type(csv) is Csv and known == {'csv': 'a csv'} and issubclass(Csv, Plugin)\n"
        "class Xml(Plugin, key='xml'):\n    name = 'x'\nassert known.pop('xml') == 'x'",
    ),
    "a class that keeps its subclasses": Case(
        "class Registry:\n    all = []\n    def __init_subclass__(cls): Registry.all.append(cls)\n"
        "class One(Registry): pass\nclass Two(Registry): pass\none = One()",
        "Registry one Two",
        "assert Registry.all == [type(one), Two] and type(one).__name__ == 'One'",
    ),
    "descriptors": Case(
        "class Positive:\n    def __set_name__(self, owner, name): self.name = '_' + name\n"
        "    def __get__(self, obj, cls): return self if obj is None else getattr(obj, self.name)\n"
        "    def __set__(self, obj, value): setattr(obj, self.name, abs(value))\n"
        "import functools\nclass Described:\n    x = Positive()\n    @functools.cached_property\n"
        "    def slow(self): return [self.x]\n    @functools.singledispatchmethod\n"
        "    def kind(self, arg): return 'object'\n    @kind.register\n"
        "    def _(self, arg: int): return 'int'\n"
        "described = Described()\ndescribed.x = -3",
        "Described described",
        "assert described.x == 3 and described.slow is described.slow and described.slow == [3]\n"
        "del described.slow\nassert described.kind('') == 'object' and described.kind(2) == 'int'",
    ),
    "classes that refer to each other": Case(
        "class Left:\n    def other(self): return Right()\n"
        "class Right:\n    left = Left\n    def other(self): return Left()\nLeft.right = Right\n"
        "left = Left()",
        "Left Right left",
        "assert type(left.other()) is Right and Left.right is Right and Right.left is Left",
    ),
    "attrs": Case(
        "import attrs\n@attrs.define\nclass Attrs:\n    x: int\n    y: list = attrs.field(factory=list)\n"
        "    def get(self): return super().__repr__()\n@attrs.frozen\nclass Ice:\n    x: int = 1\n"
        "some, ice = Attrs(1), Ice()",
        "Attrs some Ice ice",
        "import attrs\nassert some == Attrs(1) and attrs.asdict(some) == {'x': 1, 'y': []}\n"
        "assert hash(ice) == hash(Ice(1)) and not hasattr(some, '__dict__') and some.get()\n"
        "assert attrs.evolve(ice, x=2).x == 2",
    ),
    "exceptions": Case(
        "class Problem(ValueError):\n    def __init__(self, a, b):\n"
        "        super().__init__(f'{a} {b}'); self.a = a\n    def __reduce__(self):\n"
        "        return Problem, (self.a, 'b')\nproblem = Problem(1, 'b')",
        "Problem problem",
        "assert type(problem) is Problem and problem.a == 1 and str(problem) == '1 b'",
    ),
    "classes of builtin and library kinds": Case(
        "import collections, threading\nclass Bag(dict):\n    def total(self): return sum(self.values())\n"
        "class Names(collections.UserList):\n    def first(self): return self[0]\n"
        "class Stack(list):\n    __slots__ = ('top',)\n"
        "bag, names, stack = Bag(a=1, b=2), Names(['x']), Stack([1])\nstack.top = bag",
        "Bag bag names stack",
        "assert bag.total() == 3 and names.first() == 'x' and stack == [1] and stack.top is bag\n"
        "assert type(bag) is Bag and not hasattr(stack, '__dict__')",
    ),
    "submodules that a function uses": Case(
        "import xml.dom.minidom\ndef parse(text): return xml.dom.minidom.parseString(text)",
        "parse xml",
        "assert parse('<a/>').documentElement.tagName == 'a'",
    ),
}

_KERNEL = """
import json, sys, pathlib, traceback, cells
_cases, _from, _to = json.loads(sys.argv[2]), *map(pathlib.Path, sys.argv[3:])
_said = {}
def attributes(cls):
    # copyreg remembers the names of slots in the class when it meets an instance.
    return {n: v for n, v in vars(cls).items() if n != "__slotnames__"}
for _name, (_defined, _names, _checks) in _cases.items():
    try:
        if sys.argv[3] == sys.argv[4] or _from.name == "job":
            exec(compile(_defined, f"<{_name}>", "exec"))
        _before = {n: (v, attributes(v)) for n, v in list(globals().items())
                   if isinstance(v, type) and v.__module__ == "__main__"}
        _builtins = __builtins__
        if sys.argv[3] != sys.argv[4]:
            _loaded = cells.fetch(_from / _name, globals())
            assert not _loaded.failures, _loaded.failures
            assert not _loaded.notices, _loaded.notices
            assert __builtins__ is _builtins
            for _n, (_class, _attributes) in _before.items():
                assert globals()[_n] is _class and attributes(_class) == _attributes, _n
                assert _loaded.values.get(_n, _class) is _class, f"another {_n} came back"
            globals().update(_loaded.values)
        exec(compile(_checks, f"<check {_name}>", "exec"))
        _dumped = cells.send({n: globals()[n] for n in _names.split()}, _to / _name, globals())
        assert not _dumped.failures, _dumped.failures
    except Exception:
        _said[_name] = traceback.format_exc()
print(json.dumps(_said))
"""


class Course(NamedTuple):
    """What went wrong, by case, at each station."""

    kernel: dict[str, str]
    job: dict[str, str]
    next_kernel: dict[str, str]


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """All cases, on their way through three processes."""
    top = tmp_path_factory.mktemp("course")
    kernel, job, end = (top / name for name in ("kernel", "job", "end"))
    cases = json.dumps(CASES)
    return Course(
        json.loads(run_cell(_KERNEL, cases, kernel, kernel)),
        json.loads(run_cell(_KERNEL, cases, kernel, job)),
        json.loads(run_cell(_KERNEL, cases, job, end)),
    )


@pytest.mark.parametrize("name", CASES)
def test_notebook_code_works_in_the_job_and_in_another_kernel(course: Course, name: str) -> None:
    assert course.kernel.get(name, "") == ""
    assert course.job.get(name, "") == ""
    assert course.next_kernel.get(name, "") == ""
