"""Values of many kinds as source code, and the process that takes their fingerprints.

Run as `python -c "from fingerprint_zoo import main; main()"`, so that `__main__` is empty like that
of a kernel. Reads what to do as JSON on its standard input, and answers in JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """A kind of value.

    Attributes
    ----------
    source
        Binds `value`.
    old, new
        A replacement in `source` that makes another value.
    use
        Code that uses `value` and leaves its content as it is.
    needs
        Libraries that may be absent.
    pickles
        Whether cloudpickle alone brings it back whole.
    """

    name: str
    source: str
    old: str = ""
    new: str = ""
    use: str = ""
    needs: str = ""
    pickles: bool = True


def answer(
    cases: list[Case], directory: Path, offset: int, file_name: str, *, load: bool
) -> dict[str, dict[str, Any]]:
    """What the fingerprints of *cases* are here, by their names.

    Parameters
    ----------
    directory
        Where pickled values are written, or found if *load* is set.
    offset, file_name
        Where the code of the cases seems to stand.
    """
    import __main__
    import cloudpickle

    from persist_magic.fingerprint import fingerprint

    namespace = vars(__main__)
    answers: dict[str, dict[str, Any]] = {}

    def run(source: str, number: int) -> None:
        name = file_name.format(number)
        exec(compile("\n" * (offset * number) + source, name, "exec"), namespace)

    def take(value: object) -> str:
        result = fingerprint(value, namespace=namespace)
        return f"unstable: {result.unstable}" if result.unstable else result.digest

    # First, while nothing here could be taken for what is loaded.
    for case in cases:
        answers[case.name] = {}
        if load and case.pickles:
            value = cloudpickle.loads((directory / case.name).read_bytes())
            answers[case.name]["loaded"] = take(value)
    for number, case in enumerate(cases):
        about = answers[case.name]
        run(case.source, number)
        about["made"] = take(namespace["value"])
        if load:
            continue
        if case.pickles:
            (directory / case.name).write_bytes(cloudpickle.dumps(namespace["value"]))
        if case.use:
            run(case.use, number)
            about["used"] = take(namespace["value"])
        if case.old:
            run(case.source.replace(case.old, case.new), number)
            about["changed"] = take(namespace["value"])
    return answers


def main() -> None:
    asked = json.load(sys.stdin)
    cases = [Case(**each) for each in asked.pop("cases")]
    directory = Path(asked.pop("directory"))
    json.dump(answer(cases, directory, **asked), sys.stdout)


def questions(cases: list[Case], **others: object) -> str:
    """What `main` reads."""
    return json.dumps({"cases": [asdict(case) for case in cases], **others})


def is_here(case: Case) -> bool:
    """Whether the libraries that *case* needs are installed."""
    return all(find_spec(name) is not None for name in case.needs.split())


PLAIN = [
    Case("none", "value = None", "None", "False"),
    Case("true", "value = True", "True", "1"),
    Case("int", "value = 12", "12", "13"),
    Case("huge_int", "value = 10**5000", "5000", "5001"),
    Case("float", "value = 0.0", "0.0", "-0.0"),
    Case("nan", "value = float('nan')", "nan", "inf"),
    Case("complex", "value = 1+0j", "0j", "1j"),
    Case("str", "value = 'a\\udc80é'", "é", "e"),
    Case("long_str", "value = 'x' * 5000", "5000", "5001"),
    Case("bytes", "value = b'ab'", "b'ab'", "'ab'"),
    Case("long_bytes", "value = b'ab' * 200_000", "200_000", "200_001"),
    Case("bytearray", "value = bytearray(b'ab')", "bytearray", "bytes"),
    Case("memoryview", "value = memoryview(b'abc')", "abc", "abd", pickles=False),
    Case("ellipsis", "value = ...", "...", "NotImplemented"),
    Case("range", "value = range(3)", "3", "4"),
    Case("slice", "value = slice(1, None, 2)", "2", "3"),
    Case("list", "value = [1, 'a', [2.0, None]]", "2.0", "2"),
    Case("tuple", "value = (1, (2, ()), 3)", "()", "[]"),
    Case("long_list", "value = list(range(5000))", "5000", "5001"),
    Case("list_of_long_lists", "value = [['a'] * 2000, ['b'] * 3000]", "3000", "3001"),
    Case("dict", "value = {'a': 1, 2: [3], (4, 5): {}}", "[3]", "[4]"),
    Case("dict_in_another_order", "value = {'a': 1, 'b': 2}", "'a': 1, 'b': 2", "'b': 2, 'a': 1"),
    Case("set", "value = {'a', 'b', 'c', 'd'}", "'d'", "'e'"),
    Case("set_of_all", "value = {1, 'a', None, 2.5, (1, 'b'), b'c'}", "'b'", "'c'"),
    Case("frozenset", "value = frozenset(map(str, range(50)))", "50", "51"),
    Case("nested_frozensets", "value = {frozenset({'a', frozenset('bcd')}), 'e'}", "bcd", "bce"),
    Case("dict_of_sets", "value = {'x': {'a', 'b'}, 'y': [{'c', 'd'}]}", "'d'", "'e'"),
    Case("dict_by_frozenset", "value = {frozenset('abc'): 1}", "abc", "abd"),
    Case("deep", "value = ()\nfor _ in range(300): value = [value]", "300", "301"),
    Case("shared_deep", "value = ()\nfor _ in range(40): value = [value, value]", "40", "41"),
    Case("cycle", "value = [1, {}]; value[1]['me'] = value", "'me'", "'it'"),
    Case("generic_alias", "value = [list[int], int | None]", "int |", "str |"),
]

STANDARD = [
    Case("decimal", "import decimal; value = decimal.Decimal('1.10')", "1.10", "1.1"),
    Case("fraction", "import fractions; value = fractions.Fraction(1, 3)", "3", "4"),
    Case("date", "import datetime; value = datetime.date(2026, 1, 2)", "2)", "3)"),
    Case("datetime", "import datetime; value = datetime.datetime(2026, 1, 2, fold=0)", "=0", "=1"),
    Case("time", "import datetime; value = datetime.time(1, 2)", "2)", "3)"),
    Case("timedelta", "import datetime; value = datetime.timedelta(1, 2)", "2)", "3)"),
    Case(
        "datetime_with_zone",
        "import datetime as d, zoneinfo\n"
        "value = [d.datetime(2026, 1, 2, tzinfo=z)\n"
        "         for z in (d.timezone.utc, zoneinfo.ZoneInfo('Europe/Rome'))]",
        "Rome",
        "Paris",
        use="[v.utcoffset() for v in value]",
    ),
    Case("uuid", "import uuid; value = uuid.UUID(int=5)", "5", "6"),
    Case(
        "path",
        "import pathlib; value = pathlib.Path('a', 'b') / 'c'",
        "'c'",
        "'d'",
        use="hash(value), str(value), value.parent, value.suffix, value.exists()",
    ),
    Case("pattern", "import re; value = re.compile('a+', re.I)", "re.I", "re.M"),
    Case("deque", "import collections as c; value = c.deque([1, 2], 3)", "3)", "4)"),
    Case("ordered", "import collections as c; value = c.OrderedDict(a=1, b={'x'})", "x", "y"),
    Case("default", "import collections as c; value = c.defaultdict(list, a=[1])", "list", "set"),
    Case("counter", "import collections as c; value = c.Counter('abca')", "abca", "abcb"),
    Case("chain_map", "import collections as c; value = c.ChainMap({'a': 1}, {})", "1", "2"),
    Case(
        "namedtuple",
        "import collections as c; P = c.namedtuple('P', 'x y'); value = P(1, 2), P",
        "2)",
        "3)",
    ),
    Case("array", "import array; value = array.array('i', [1, 2])", "'i'", "'l'"),
    Case("namespace", "import types; value = types.SimpleNamespace(a=1, s={'b', 'c'})", "1", "2"),
    Case("mapping_proxy", "import types; value = types.MappingProxyType({'a': 1})", "1", "2"),
    Case("dict_keys", "value = {'a': 1}.keys()", "'a'", "'b'"),
    Case("exception", "value = ValueError('a', 1)", "1", "2"),
    Case(
        "random",
        "import random; value = random.Random(1); value.random()",
        "(1)",
        "(2)",
    ),
    Case("count", "import itertools; value = itertools.count(3)", "3", "4"),
    Case("list_iterator", "value = iter([1, 2, 3]); next(value)", "3]", "4]", use="repr(value)"),
    Case("logger", "import logging; value = logging.getLogger('a.b')", "a.b", "a.c"),
    Case("modules", "import json, os.path; value = [json, os.path]", "[json", "[os"),
    Case("library_functions", "import json; value = [json.dumps, len, str.join]", "len", "abs"),
    Case("library_classes", "import json; value = [json.JSONEncoder, int, type(None)]", "int", "str"),
    Case("builtin_methods", "value = [[1].append, 'a'.join, dict.fromkeys]", "[1]", "[2]"),
    Case("partial", "import functools; value = functools.partial(int, base=2)", "2", "3"),
    Case(
        "typing",
        "import typing as t\n"
        "T = t.TypeVar('T', bound=int); N = t.NewType('N', int)\n"
        "value = [T, N, t.Optional[int], t.Callable[[T], 'str'], t.Any]",
        "'N', int",
        "'N', str",
    ),
]

# A class with everything, to be changed in each of its corners.
CORNERS = """
class Base:
    size = 1000
    def area(self): return 1
class Thing(Base):
    'a thing'
    size = 1000
    kinds = {'a', 'b', 'c'}
    def __init__(self, x): super().__init__(); self.x = x; self.__hidden = {'p', 'q'}
    def area(self): return super().area() + self.x
    @property
    def double(self): return 2 * self.x
    @classmethod
    def make(cls): return cls(7)
    @staticmethod
    def helper(a, b=4): return a + b
    class Inner:
        deep = 6
value = [Thing, Thing(8)]
"""

NOTEBOOK = [
    Case("function", "def f(x): return x + 1\nvalue = f", "+ 1", "+ 2", use="value(1)"),
    Case("function_by_operator", "def f(x): return x + 1\nvalue = f", "+", "-"),
    Case("function_by_name", "def one(x): return x\nvalue = one", "one", "two"),
    Case("function_default", "def f(x=1, *, y=2): return x\nvalue = f", "y=2", "y=3"),
    Case("function_attribute", "def f(x): return x\nf.note = 'a'\nvalue = f", "'a'", "'b'"),
    Case("function_docstring", "def f(x):\n  'one'\n  return x\nvalue = f", "one", "two"),
    Case("function_annotation", "def f(x: int) -> str: return x\nvalue = f", "int", "bool"),
    Case("function_called_name", "def f(x): return x.one()\nvalue = f", "one", "two"),
    Case("function_set_constant", "def f(x): return x in {'a', 'b', 'c'}\nvalue = f", "'c'", "'d'"),
    Case("function_exception", "def f():\n  try: g()\n  except A: pass\nvalue = f", "A:", "B:"),
    Case("function_inside", "def f(x):\n  def g(): return x+1\n  return g\nvalue = f", "1", "2"),
    Case("function_global", "k = 1\ndef f(x): return x + k\nvalue = f", "k = 1", "k = 2"),
    Case(
        "function_global_of_global",
        "k = {'a', 'b'}\ndef g(): return k\ndef f(): return [g() for _ in 'ab']\nvalue = f",
        "{'a',",
        "{'c',",
        use="value()",
    ),
    Case("function_global_module", "import math\ndef f(): return math.pi\nvalue = f", "pi", "e"),
    Case("recursion", "def f(x): return f(x - 1) if x else 0\nvalue = f", "0", "1"),
    Case(
        "mutual_recursion",
        "def even(x): return x == 0 or odd(x - 1)\n"
        "def odd(x): return x != 0 and even(x - 1)\n"
        "value = [even, odd, even]",
        "odd(x - 1)",
        "odd(x - 3)",
    ),
    Case("lambda", "value = [lambda x: x + 1, lambda: {'a', 'b'}]", "+ 1", "+ 2"),
    Case("closure", "def f(n):\n  return lambda x: x + n\nvalue = f(1)", "f(1)", "f(2)"),
    Case("generator_function", "def f():\n  yield 1\nvalue = f", "1", "2"),
    Case("async_function", "async def f():\n  await g()\nvalue = f", "g", "h"),
    Case(
        "decorated",
        "import functools\n"
        "def twice(f):\n"
        "  @functools.wraps(f)\n"
        "  def inner(*a): return f(*a) * 2\n"
        "  return inner\n"
        "@twice\n"
        "def g(x): return x + 3\n"
        "value = g",
        "* 2",
        "* 4",
    ),
    Case(
        "lru_cache",
        "import functools\n@functools.lru_cache(maxsize=9)\ndef f(x): return x\nvalue = f",
        "9",
        "8",
        use="value(1), value(2)",
        # It is pickled by a name that the other process does not have.
        pickles=False,
    ),
    Case(
        "local_class",
        "def f():\n"
        "  class A:\n"
        "    limit = 8\n"
        "    def __init__(self): self.a, self.b, self.c, self.d = 'abcd'\n"
        "  return A\n"
        "value = f",
        "8",
        "9",
        use="value()()",
    ),
    Case("bound_method", "class A:\n  x = 1\n  def f(self): return 1\nvalue = A().f", "x = 1", "x=2"),
    *(
        Case(f"class_{name}", CORNERS, old, new, use="value[1].area(), value[1].double, repr(value)")
        for name, old, new in (
            ("base", "return 1", "return 2"),
            ("docstring", "a thing", "a tool"),
            ("attribute", "size = 1000\n    kinds", "size = 1001\n    kinds"),
            ("set", "'c'", "'d'"),
            ("init", "self.x = x;", "self.x = -x;"),
            ("super", "super().area() +", "super().area() -"),
            ("property", "2 * self.x", "3 * self.x"),
            ("classmethod", "cls(7)", "cls(8)"),
            ("staticmethod", "b=4", "b=5"),
            ("inner_class", "deep = 6", "deep = 7"),
            ("state", "Thing(8)", "Thing(9)"),
            ("kind_of_method", "@classmethod", "@staticmethod"),
            ("bases", "(Base)", "(Base, dict)"),
        )
    ),
    Case(
        "cached_property",
        "import functools\nclass A:\n  @functools.cached_property\n  def f(self): return 5\nvalue = A",
        "5",
        "6",
        use="value().f",
        pickles=False,  # until 3.11 it has a lock
    ),
    Case(
        "slots",
        "class A:\n  __slots__ = ('x', '__y')\n  def __init__(self): self.x = 1; self.__y = 2\n"
        "value = [A, A()]",
        "= 2",
        "= 3",
    ),
    Case(
        "slots_and_dict",
        "class A:\n  __slots__ = ('x',)\nclass B(A): pass\nvalue = B(); value.x = 1; value.z = 2",
        "z = 2",
        "z = 3",
    ),
    Case(
        "dataclass",
        "from dataclasses import dataclass, field\n"
        "@dataclass\n"
        "class D:\n"
        "  x: int\n"
        "  y: list = field(default_factory=list, repr=False)\n"
        "value = [D, D(1, [{'a', 'b'}])]",
        "repr=False",
        "repr=True",
        use="repr(value), value[1] == value[1]",
    ),
    Case(
        "frozen_dataclass",
        "from dataclasses import dataclass\n@dataclass(frozen=True, order=True)\nclass D:\n"
        "  x: int = 1\nvalue = {D(2), D(3), D(4), D()}, D",
        "D(4)",
        "D(5)",
    ),
    Case(
        "slots_dataclass",
        "from dataclasses import dataclass\n@dataclass(slots=True)\nclass D:\n  x: int\n"
        "  y: int = 2\nvalue = [D, D(1)]",
        "D(1)",
        "D(3)",
    ),
    Case(
        "enum",
        "import enum\nclass E(enum.Enum):\n  A = 1\n  B = 'b'\n  def f(self): return 3\n"
        "value = [E, E.A, {E.A, E.B}]",
        "3",
        "4",
        use="value[0]('b'), value[1].f(), value[1].name",
    ),
    Case(
        "enum_member",
        "import enum\nclass E(enum.Enum):\n  A = 1\n  B = 2\nvalue = E.A",
        "E.A",
        "E.B",
    ),
    Case(
        "enum_values",
        "import enum\nclass E(enum.IntEnum):\n  A = 1\n  B = enum.auto()\nvalue = [E.A, E]",
        "A = 1",
        "A = 5",
    ),
    Case(
        "flag",
        "import enum\nclass F(enum.Flag):\n  A = 1\n  B = 2\n  C = 4\nvalue = [F.A | F.B, F]",
        "| F.B",
        "| F.C",
    ),
    Case(
        "abstract",
        "import abc\nclass A(abc.ABC):\n  @abc.abstractmethod\n  def f(self): ...\n"
        "class B(A):\n  def f(self): return 1\nvalue = [A, B, B()]",
        "return 1",
        "return 2",
        use="isinstance(3, value[0]), isinstance(value[2], value[0])",
    ),
    Case(
        "generic",
        "import typing as t\nT = t.TypeVar('T')\nclass G(t.Generic[T]):\n  x: T\n"
        "  def f(self) -> T: ...\nvalue = [G, G[int], G()]",
        "G[int]",
        "G[str]",
    ),
    Case(
        "typed_namedtuple",
        "import typing as t\nclass N(t.NamedTuple):\n  x: int\n  y: str = 'a'\n"
        "  def f(self): return 1\nvalue = [N, N(1)]",
        "'a'",
        "'b'",
    ),
    Case(
        "typed_dict",
        "import typing as t\nclass D(t.TypedDict, total=False):\n  x: int\n  y: str\nvalue = D",
        "y: str",
        "y: int",
    ),
    Case(
        "protocol",
        "import typing as t\n@t.runtime_checkable\nclass P(t.Protocol):\n"
        "  def f(self) -> int: ...\n  def g(self): ...\nclass A:\n  def f(self): return 1\n"
        "value = [P, A]",
        "-> int",
        "-> str",
        use="isinstance(value[1](), value[0])",
    ),
    Case(
        "descriptor",
        "class Cell:\n  def __set_name__(self, owner, name): self.owner, self.name = owner, name\n"
        "  def __get__(self, thing, kind): return 3\nclass A:\n  x = Cell()\nvalue = A",
        "return 3",
        "return 4",
    ),
    Case(
        "metaclass",
        "class M(type):\n  def f(cls): return 1\nclass A(metaclass=M): pass\nvalue = A, A()",
        "return 1",
        "return 2",
    ),
    Case(
        "partialmethod",
        "import functools\nclass A:\n  def f(self, x): return x\n"
        "  g = functools.partialmethod(f, 1)\nvalue = A",
        "f, 1",
        "f, 2",
    ),
    Case(
        "own_reduce",
        "class A:\n  def __init__(self, s): self.s = set(s); self.cache = id(self)\n"
        "  def __reduce__(self): return A, (sorted(self.s),)\nvalue = A('abc')",
        "abc",
        "abd",
    ),
    Case(
        "own_getstate",
        "import threading\nclass A:\n  def __init__(self): self.x = 1; self.lock = threading.Lock()\n"
        "  def __getstate__(self): return {'x': self.x}\nvalue = A()",
        "self.x = 1",
        "self.x = 2",
    ),
    Case("list_subclass", "class L(list): pass\nvalue = L([1, {'a', 'b'}]); value.z = 1", "z", "y"),
    Case("dict_subclass", "class D(dict): pass\nvalue = D(a={'b', 'c'})", "'c'", "'d'"),
    Case("set_subclass", "class S(set): pass\nvalue = S('abc'); value.z = 1", "abc", "abd"),
    Case("int_subclass", "class I(int): pass\nvalue = I(5)", "5", "6"),
    Case("str_subclass", "class I(str): pass\nvalue = I('a')", "I('a')", "str('a')"),
    Case("tuple_subclass", "class T(tuple): pass\nvalue = T('ab')", "'ab'", "'ac'"),
    Case(
        "own_exception",
        "class E(Exception): pass\ntry:\n  raise E('a') from ValueError()\n"
        "except E as e:\n  value = e",
        "'a'",
        "'b'",
    ),
    Case(
        "tree_with_parents",
        "class N:\n  def __init__(self, parent, name):\n    self.parent, self.name = parent, name\n"
        "    self.children = []\n    if parent: parent.children.append(self)\n"
        "value = N(None, 'a'); b = N(value, 'b'); N(value, 'c'); N(b, 'd')",
        "(b, 'd')",
        "(value, 'd')",
    ),
    Case(
        "ring",
        "class N: pass\nring = [N() for _ in range(5)]\n"
        "for i, n in enumerate(ring): n.next, n.last, n.all = ring[i - 4], ring[i - 1], ring\n"
        "value = ring[2:]",
        "ring[2:]",
        "[ring[2], ring[3], ring[3]]",
    ),
    Case(
        "children_in_a_set",
        "class N:\n  def __init__(self, parent, name):\n    self.parent, self.name = parent, name\n"
        "    self.children = set()\n    if parent: parent.children.add(self)\n"
        "value = N(None, 'a'); b = N(value, 'b'); N(value, 'c'); N(b, 'd')",
        "'d'",
        "'e'",
    ),
    Case(
        "attrs",
        "import attr\n@attr.s(auto_attribs=True)\nclass A:\n  x: int\n"
        "  y: list = attr.Factory(list)\nvalue = [A, A(1)]",
        "A(1)",
        "A(2)",
        use="repr(value), value[1] == value[1]",
        needs="attr",
    ),
    Case(
        "attrs_define",
        "import attrs\n@attrs.define\nclass A:\n  x: int = attrs.field(converter=int)\n"
        "  y: int = 5\nvalue = [A, A(1)]",
        "y: int = 5",
        "y: int = 6",
        needs="attrs",
        pickles=False,  # cloudpickle alone loses the slots
    ),
]

NUMPY = [
    Case("ndarray", "import numpy as np; value = np.arange(6.0).reshape(2, 3)", "6.0", "6"),
    Case("shape", "import numpy as np; value = np.arange(6).reshape(2, 3)", "2, 3", "3, 2"),
    Case("order_f", "import numpy as np; value = np.asfortranarray([[1, 2], [3, 4]])", "4", "5"),
    Case("strided", "import numpy as np; value = np.arange(20)[::3]", "3]", "4]"),
    Case("bit", "import numpy as np; value = np.zeros(99_999); value[-1] = 0.0", "= 0.0", "= -0.0"),
    Case("zero_d", "import numpy as np; value = np.array(3)", "3", "[3]"),
    Case("empty", "import numpy as np; value = np.zeros((0, 3))", "0, 3", "3, 0"),
    Case("bool", "import numpy as np; value = np.array([True, False])", "False", "True"),
    Case("big_endian", "import numpy as np; value = np.arange(3, dtype='>i4')", ">", "<"),
    Case("objects", "import numpy as np; value = np.array([{'a', 'b'}, None, 'x'])", "'x'", "'y'"),
    Case("datetimes", "import numpy as np; value = np.array(['2026-01-02', 'NaT'], 'M8[D]')", "D", "s"),
    Case("texts", "import numpy as np; value = np.array(['a', 'bcd'])", "bcd", "bce"),
    Case("byte_strings", "import numpy as np; value = np.array([b'a', b'bcd'])", "bcd", "bce"),
    Case(
        "structured",
        "import numpy as np\nvalue = np.zeros(3, [('a', 'i4'), ('b', 'f8', 2)]); value['b'] = 1",
        "= 1",
        "= 2",
    ),
    Case(
        "structured_with_holes",
        "import numpy as np, os\nkind = np.dtype([('a', 'i1'), ('b', 'f8')], align=True)\n"
        # The bytes between the fields are chance.
        "value = np.frombuffer(os.urandom(48), kind).copy(); value['a'], value['b'] = 1, 2",
        "1, 2",
        "1, 3",
    ),
    Case(
        "structured_objects",
        "import numpy as np\nvalue = np.array([({'a', 'b'}, 1)], [('o', 'O'), ('n', int)])",
        "1)",
        "2)",
    ),
    Case(
        "masked",
        "import numpy as np; value = np.ma.masked_array([1, 2, 3], [0, 1, 0])",
        "[0, 1, 0]",
        "[0, 1, 1]",
        use="value.sum(), value.fill_value, value.filled()",
    ),
    Case("recarray", "import numpy as np; value = np.rec.array([(1, 2.0)], names='a,b')", "b'", "c'"),
    Case(
        "matrix",
        "import numpy as np, warnings\nwarnings.simplefilter('ignore')\nvalue = np.matrix([[1, 2]])",
        "np.matrix",
        "np.array",
    ),
    Case(
        "memmap",
        "import numpy as np, tempfile\nfile = tempfile.NamedTemporaryFile()\n"
        "value = np.memmap(file.name, 'i4', 'w+', shape=(5,)); value[:] = 7",
        "7",
        "8",
    ),
    Case("array_subclass", "import numpy as np\nclass A(np.ndarray): pass\n"
         "value = np.arange(3).view(A); value.unit = 'm'", "'m'", "'s'", pickles=False),
    Case("numpy_scalars", "import numpy as np; value = [np.float64(1), np.int8(2)]", "int8", "int16"),
    Case("numpy_dates", "import numpy as np; value = np.datetime64('2026-01-02', 'D')", "'D'", "'h'"),
    Case("long_double", "import numpy as np; value = np.linspace(0, 1, 5, dtype='g')", "5", "6"),
    Case("dtypes", "import numpy as np; value = [np.dtype('i4'), np.dtype([('a', 'i4')])]", "'a'", "'b'"),
    Case("ufunc", "import numpy as np; value = [np.add, np.ndarray.sum, np.float32]", "add", "exp"),
    Case("numpy_generator", "import numpy as np; value = np.random.default_rng(5)", "5", "6"),
    Case("random_state", "import numpy as np; value = np.random.RandomState(5)", "5", "6"),
    Case("dict_of_arrays", "import numpy as np; value = {'a': np.ones(3), 'b': [np.ones(2)]}", "2)", "4)"),
    Case("list_of_scalars", "import numpy as np; value = list(np.arange(2000.0))", "2000", "2001"),
    Case(
        "texts_of_any_length",
        "import numpy as np\nvalue = np.array(['a', 'b' * 100] * 5000, np.dtypes.StringDType())",
        "* 100",
        "* 101",
        needs="numpy.dtypes",
    ),
]

PANDAS = [
    Case(
        "frame",
        "import pandas as pd\nvalue = pd.DataFrame({'a': [1, 2], 'b': ['x', None], 'c': [1.0, 2.5]})",
        "2.5",
        "3.5",
        use="value['a'].sum(); value.groupby('b').mean(); repr(value); value.values; value.T",
    ),
    Case("frame_column", "import pandas as pd; value = pd.DataFrame({'a': [1]})", "'a'", "'b'"),
    Case("frame_index", "import pandas as pd; value = pd.DataFrame({'a': [1]}, index=[5])", "5", "6"),
    Case("frame_attrs", "import pandas as pd; value = pd.DataFrame({'a': [1]})\n"
         "value.attrs = {'unit': 'm'}", "'m'", "'s'"),
    Case("frame_of_array", "import numpy as np, pandas as pd; value = pd.DataFrame(np.ones((9, 4)))",
         "9, 4", "9, 5"),
    Case("series", "import pandas as pd; value = pd.Series([1, 2], name='a')", "'a'", "'b'"),
    Case("index", "import pandas as pd; value = pd.Index(['a', 'b'])", "'b'", "'c'",
         use="value.get_loc('a'); value.is_unique; hash(value[0])"),
    Case("range_index", "import pandas as pd; value = pd.RangeIndex(3)", "3", "4"),
    Case(
        "multi_index",
        "import pandas as pd; value = pd.MultiIndex.from_product([[1, 2], list('ab')])",
        "'ab'",
        "'ac'",
        use="value.get_loc((1, 'a')); value.is_unique; value.values",
    ),
    Case("categories", "import pandas as pd; value = pd.Categorical(list('aba'))", "aba", "abb"),
    Case("category_column", "import pandas as pd\nvalue = pd.DataFrame({'a': pd.Categorical(['x'])})",
         "'x'", "'y'"),
    Case("timestamps", "import pandas as pd; value = pd.date_range('2026', periods=3, tz='Asia/Tokyo')",
         "Tokyo", "Seoul"),
    Case("timestamp", "import pandas as pd; value = pd.Timestamp('2026-01-02', tz='UTC')", "-02", "-03"),
    Case("periods", "import pandas as pd; value = pd.period_range('2026', periods=3, freq='D')", "3", "4"),
    Case("timedeltas", "import pandas as pd; value = pd.to_timedelta([1, 2], 's')", "2]", "3]"),
    Case("intervals", "import pandas as pd; value = pd.interval_range(0, 3)", "3", "4"),
    Case("interval", "import pandas as pd; value = pd.Interval(0, 1)", "1)", "2)"),
    Case("missing", "import pandas as pd; value = [pd.NA, pd.NaT]", "pd.NaT", "None"),
    Case("nullable", "import pandas as pd; value = pd.array([1, None, 3], 'Int64')", "3]", "4]"),
    Case("sparse", "import pandas as pd; value = pd.arrays.SparseArray([0, 0, 1])", "1]", "2]"),
    Case("strings", "import pandas as pd; value = pd.Series(['a', None, 'é'], dtype='string')", "é", "e"),
    Case("arrow_strings", "import pandas as pd\n"
         "value = pd.Series(['a', None, 'é'], dtype='string[pyarrow]')", "é", "e", needs="pyarrow"),
    Case("arrow_column", "import pandas as pd\n"
         "value = pd.Series([[1], [2, 3]], dtype='int64[pyarrow]'.replace('int64', 'int64')) "
         "if 0 else pd.Series([1, None], dtype='int64[pyarrow]')", "1, None", "2, None",
         needs="pyarrow"),
    Case("offset", "import pandas as pd; value = pd.offsets.BMonthEnd(2)", "2", "3"),
    Case("object_column", "import pandas as pd; value = pd.DataFrame({'a': [{'x', 'y'}, None]})", "'y'",
         "'z'"),
]

OTHERS = [
    Case(
        "arrow_table",
        "import pyarrow as pa\n"
        "value = pa.table({'a': [1, None, 3], 'b': ['x', 'yy', None], 'c': [[1], None, [2, 3]],\n"
        "  'd': [{'p': 1}, {'p': None}, None], 'e': [True, None, False], 'f': [b'a', b'', None]})",
        "[2, 3]",
        "[2, 4]",
        needs="pyarrow",
    ),
    Case("arrow_slice", "import pyarrow as pa; value = pa.array(range(100)).slice(3, 5)", "3,", "4,",
         needs="pyarrow"),
    Case("arrow_types", "import pyarrow as pa, decimal, datetime\n"
         "value = [pa.array([decimal.Decimal('1.5'), None]), pa.array([datetime.date(2026, 1, 2)]),\n"
         "  pa.array(['a', 'b', 'a']).dictionary_encode(), pa.nulls(3), pa.array([1], pa.uint8()),\n"
         "  pa.array([b'ab'], pa.binary(2)), pa.array([[('k', 1)]], pa.map_(pa.string(), pa.int8())),\n"
         "  pa.array([[1, 2], None], pa.list_(pa.int64(), 2)), pa.array(['a'], pa.large_string())]",
         "('k', 1)", "('k', 2)", needs="pyarrow"),
    Case(
        "polars_frame",
        "import polars as pl\n"
        "value = pl.DataFrame({'a': [1, None], 'b': ['x', 'é'], 'c': [[1], [2]]})",
        "[2]]",
        "[3]]",
        use="value.sort('a'); value['a'].sum(); repr(value)",
        needs="polars pyarrow",
    ),
    Case("polars_series", "import polars as pl; value = pl.Series('s', [1.0, 2.0])", "'s'", "'t'",
         needs="polars pyarrow"),
    Case("polars_categories", "import polars as pl\n"
         "value = pl.Series(['b', 'a', 'b'], dtype=pl.Categorical)", "'a'", "'c'",
         needs="polars pyarrow"),
    Case("polars_lazy", "import polars as pl; value = pl.LazyFrame({'a': [1, 2]}).filter(pl.col('a') > 1)",
         "> 1", "> 2", needs="polars pyarrow"),
    *(
        Case(
            f"scipy_{name}",
            f"import scipy.sparse as sp; value = sp.{name}([[1, 0], [2, 3]])",
            "3]",
            "4]",
            use="value @ value; value.sum(); value.T; repr(value); "
            "getattr(value, 'has_sorted_indices', 0); getattr(value, 'has_canonical_format', 0)",
            needs="scipy",
        )
        for name in ("csr_array", "csc_matrix", "coo_array", "lil_array", "dok_array", "bsr_array")
    ),
    Case(
        "linear_model",
        "from sklearn.linear_model import LinearRegression\n"
        "value = LinearRegression().fit([[0], [1], [2]], [1, 2, 3])",
        "3]",
        "4]",
        use="value.predict([[5]])",
        needs="sklearn",
    ),
    Case(
        "forest",
        "from sklearn.ensemble import RandomForestClassifier\n"
        "value = RandomForestClassifier(5, random_state=1).fit([[0], [1], [2], [3]], [0, 0, 1, 1])",
        "[0, 0, 1, 1]",
        "[0, 1, 1, 1]",
        use="value.predict([[5]])",
        needs="sklearn",
    ),
    Case(
        "neighbours",
        "from sklearn.neighbors import KNeighborsClassifier\n"
        "value = KNeighborsClassifier(1, algorithm='kd_tree').fit([[0], [1], [2]], [0, 1, 1])",
        "[2]]",
        "[3]]",
        use="value.predict([[5], [6]])",
        needs="sklearn",
    ),
    Case(
        "pipeline",
        "from sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import StandardScaler, FunctionTransformer\n"
        "value = make_pipeline(StandardScaler(), FunctionTransformer(lambda x: x + 1))",
        "+ 1",
        "+ 2",
        needs="sklearn",
    ),
    Case(
        "tensor",
        "import torch; value = [torch.arange(6.0).reshape(2, 3).T, torch.ones(2, dtype=torch.bfloat16)]",
        "6.0",
        "6",
        needs="torch",
    ),
    Case(
        "torch_module",
        "import torch; torch.manual_seed(1)\n"
        "class Net(torch.nn.Module):\n"
        "  def __init__(self): super().__init__(); self.a = torch.nn.Linear(2, 2)\n"
        "  def forward(self, x): return self.a(x)\n"
        "value = Net()",
        "seed(1)",
        "seed(2)",
        use="value(torch.ones(1, 2)).sum().backward(); repr(value)",
        needs="torch",
    ),
    Case(
        "optimizer",
        "import torch; torch.manual_seed(1); model = torch.nn.Linear(2, 1)\n"
        "value = [model, torch.optim.Adam(model.parameters(), lr=0.5)]\n"
        "model(torch.ones(1, 2)).sum().backward(); value[1].step()",
        "0.5",
        "0.25",
        needs="torch",
    ),
    Case(
        "torch_sparse",
        "import torch; value = [torch.eye(3).to_sparse(), torch.eye(3).to_sparse_csr()]",
        "eye(3).to_sparse()",
        "ones(3, 3).to_sparse()",
        needs="torch",
    ),
    Case("torch_others", "import torch; value = [torch.float32, torch.device('cpu'), torch.Size([1, 2])]",
         "2]", "3]", needs="torch"),
    Case("torch_generator", "import torch; value = torch.Generator().manual_seed(1)", "1", "2",
         needs="torch", pickles=False),
]

CASES = [*PLAIN, *STANDARD, *NOTEBOOK, *NUMPY, *PANDAS, *OTHERS]
