"""Classes of a notebook: to a job, and back to another kernel of the notebook."""

from __future__ import annotations

import pytest

from cells import Course, cases_in, travel

# Each case: what it shows, and the names that are sent; a cell that defines them; what must hold.
CASES = cases_in(
    """
=== methods, super, property, static and class methods: Derived derived
class Base:
    kind = "base"

    def __init__(self, x):
        self.x = x

    def get(self):
        return self.x

    @property
    def double(self):
        return 2 * self.x

    @double.setter
    def double(self, value):
        self.x = value // 2

class Derived(Base):
    def get(self):
        return super().get() + 1

    @staticmethod
    def stat(a):
        return a

    @classmethod
    def of(cls, x):
        return cls(x)

derived = Derived(4)
---
assert derived.get() == 5 and derived.double == 8 and Derived.stat(3) == 3
derived.double = 6
assert derived.x == 3
derived.x = 4
assert type(Derived.of(1)) is Derived and type(derived) is Derived
assert Derived.__qualname__ == "Derived" and Derived.__module__ == "__main__"

=== slots, private and inherited: narrow narrower
class Narrow:
    __slots__ = ("a", "__hidden")

    def __init__(self):
        self.a = 1
        self.__hidden = 2

    def hidden(self):
        return self.__hidden

class Narrower(Narrow):
    __slots__ = "b"

narrow, narrower = Narrow(), Narrower()
narrower.b = 3
---
assert narrow.hidden() == 2 and narrower.hidden() == 2 and narrower.b == 3
for each in (narrow, narrower):
    assert not hasattr(each, "__dict__")

=== nested classes, and a class of a function: Outer inner Local local
class Outer:
    class Inner:
        def get(self):
            return 1

def make():
    class Local:
        def get(self):
            return 2

    return Local

Local = make()
inner, local = Outer.Inner(), Local()
---
assert type(inner) is Outer.Inner and inner.get() == 1
assert type(local) is Local and local.get() == 2 and "<locals>" in Local.__qualname__

=== a metaclass with arguments: WithMeta with_meta
class Meta(type):
    def __new__(m, name, bases, space, flag):
        space["flag"] = flag
        return super().__new__(m, name, bases, space)

    def __init__(cls, name, bases, space, flag):
        cls.ready = True

    def __len__(cls):
        return 42

class WithMeta(metaclass=Meta, flag=3):
    pass

with_meta = WithMeta()
---
assert type(WithMeta).__name__ == "Meta" and len(WithMeta) == 42
assert with_meta.flag == 3 and with_meta.ready

=== a class that is told of its subclasses: Plugin Csv csv known
known = {}

class Plugin:
    def __init_subclass__(cls, key, **rest):
        super().__init_subclass__(**rest)
        known[key] = cls.name

class Csv(Plugin, key="csv"):
    name = "a csv"

csv = Csv()
---
assert type(csv) is Csv and known == {"csv": "a csv"} and issubclass(Csv, Plugin)

class Xml(Plugin, key="xml"):
    name = "x"

assert known.pop("xml") == "x"

=== a class that keeps its subclasses: Registry one Two
class Registry:
    all = []

    def __init_subclass__(cls):
        Registry.all.append(cls)

class One(Registry):
    pass

class Two(Registry):
    pass

one = One()
---
assert Registry.all == [type(one), Two] and type(one).__name__ == "One"

=== descriptors: Described described
class Positive:
    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, obj, cls):
        return self if obj is None else getattr(obj, self.name)

    def __set__(self, obj, value):
        setattr(obj, self.name, abs(value))

import functools

class Described:
    x = Positive()

    @functools.cached_property
    def slow(self):
        return [self.x]

    @functools.singledispatchmethod
    def kind(self, arg):
        return "object"

    @kind.register
    def _(self, arg: int):
        return "int"

described = Described()
described.x = -3
---
assert described.x == 3 and described.slow is described.slow and described.slow == [3]
del described.slow
assert described.kind("") == "object" and described.kind(2) == "int"

=== classes that refer to each other: Left Right left
class Left:
    def other(self):
        return Right()

class Right:
    left = Left

    def other(self):
        return Left()

Left.right = Right
left = Left()
---
assert type(left.other()) is Right and Left.right is Right and Right.left is Left

=== slots with words, a dict, and of an exception: S1 s1 S2 s2 S3 s3
class S1:
    __slots__ = {"a": "doc of a", "b": "doc"}

class S2:
    __slots__ = ("a", "__dict__", "__weakref__")

class S3(Exception):
    __slots__ = ("b",)

s1, s2, s3 = S1(), S2(), S3("x")
s1.a = 1
s2.a = 1
s2.z = 2
s3.b = 5
---
import weakref

assert s1.a == 1 and not hasattr(s1, "b") and not hasattr(s1, "__dict__")
assert s2.a == 1 and s2.z == 2 and weakref.ref(s2)() is s2
assert s3.b == 5 and s3.args == ("x",)

=== a class that holds its instances, also as keys: Vec v
class Vec:
    def __init__(self, x=0):
        self.x = x

    def __eq__(self, o):
        return self.x == o.x

    def __hash__(self):
        return hash(self.x)

    def add(self, other=None):
        return Vec(self.x + (other or Vec.ZERO).x)

Vec.ZERO = Vec()
Vec.TABLE = {Vec.ZERO: [Vec.ZERO]}
v = Vec(2)
---
assert (
    v.add() == v
    and type(Vec.ZERO) is Vec
    and next(iter(Vec.TABLE)) is Vec.ZERO is Vec.TABLE[Vec.ZERO][0]
)

=== a class with one instance: Single single
class Single:
    _it = None

    def __new__(cls):
        if cls._it is None:
            cls._it = super().__new__(cls)
        return cls._it

single = Single()
single.x = 4
---
assert Single() is single and single.x == 4

=== metaclasses that remember and that forbid: Reg reg Frz
class M(type):
    _all = {}

    def __call__(cls, *a):
        if cls not in cls._all:
            cls._all[cls] = super().__call__(*a)
        return cls._all[cls]

class Reg(metaclass=M):
    def __init__(self):
        self.x = 1

class F(type):
    def __setattr__(cls, name, value):
        raise AttributeError("frozen")

class Frz(metaclass=F):
    a = 1

    def get(self):
        return self.a

reg = Reg()
---
assert reg.x == 1 and Frz().get() == 1
try:
    Frz.b = 2
except AttributeError:
    pass
else:
    raise AssertionError

=== a diamond of classes: Dm dm
class A0:
    def go(self):
        return ["A"]

class B0(A0):
    def go(self):
        return ["B", *super().go()]

class C0(A0):
    def go(self):
        return ["C", *super().go()]

class Dm(B0, C0):
    def go(self):
        return [__class__.__name__, *super().go()]

dm = Dm()
---
assert dm.go() == ["Dm", "B", "C", "A"]

=== classes that decorators made: Dec dec Tot
import functools

def register(cls):
    cls.registered = True
    return cls

def wrap(cls):
    class Wrapped(cls):
        def extra(self):
            return super().base() + 1

    return Wrapped

@wrap
@register
class Dec:
    def base(self):
        return 1

@functools.total_ordering
class Tot:
    def __init__(self, x):
        self.x = x

    def __eq__(self, o):
        return self.x == o.x

    def __lt__(self, o):
        return self.x < o.x

dec = Dec()
---
assert dec.extra() == 2 and Dec.registered and Tot(1) <= Tot(2)

=== attributes of all kinds: Prop
class Prop:
    "doc"

    x = property(lambda self: 3, doc="doc of x")
    y: int = 4
    __hash__ = None

    def __class_getitem__(cls, k):
        return k

    __call__ = lambda self: 5
---
assert (
    Prop().x == 3
    and Prop.x.__doc__ == "doc of x"
    and Prop[7] == 7
    and Prop()() == 5
    and Prop.__doc__ == "doc"
    and Prop.__annotations__ == {"y": int}
)
try:
    hash(Prop())
except TypeError:
    pass
else:
    raise AssertionError

=== partial and cached methods: Pm wk
import functools, collections, weakref

class Pm:
    def f(self, a, b):
        return a + b

    g = functools.partialmethod(f, 1)

    @functools.lru_cache
    def c(self, x):
        return [x]

    @classmethod
    @functools.lru_cache
    def d(cls):
        return [cls.__name__]

wk = functools.reduce
---
p = Pm()
assert p.g(2) == 3 and p.c(1) is p.c(1) and Pm.d() == ["Pm"]
"""
)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """All cases, on their way through three processes."""
    return travel(CASES, tmp_path_factory.mktemp("course"))


@pytest.mark.parametrize("name", CASES)
def test_classes_work_in_the_job_and_in_another_kernel(course: Course, name: str) -> None:
    assert course.kernel.get(name, "") == ""
    assert course.job.get(name, "") == ""
    assert course.next_kernel.get(name, "") == ""
