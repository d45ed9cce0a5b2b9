"""Which names a function uses, and which names of a notebook the values of others need."""

from __future__ import annotations

import sys
import threading
import types
from typing import Any

import pytest

from persist_magic.capture import follow, names_of_code

IMPORTS = """
import collections, dataclasses, enum, functools
from dataclasses import dataclass, field
"""

# Methods by which a class can take part in what is done with it and its instances.
HOOKS = (
    *("__getattribute__", "__getattr__", "__iter__", "__len__", "__eq__", "__hash__", "__bool__"),
    *("__repr__", "__getitem__", "__contains__", "__instancecheck__", "__subclasscheck__"),
    *("__reduce_ex__", "__sizeof__", "__dir__", "__get__", "keys", "values", "items", "mro"),
)


def code_of(source: str) -> types.CodeType:
    return compile(source, "<cell>", "exec", dont_inherit=True)


def notebook(source: str) -> dict[str, Any]:
    """The namespace of a notebook that ran *source*, k and l in it being of interest."""
    namespace: dict[str, Any] = {"__name__": "__main__", "k": 1, "l": 2}
    exec(code_of(IMPORTS + source), namespace)
    return namespace


def needed(name: str, source: str) -> set[str]:
    """What *name* needs but itself, what is imported, and what is no variable of a notebook."""
    imported = notebook("").keys() - {"k", "l"}
    return follow([name], notebook(source)).keys() - imported - {name}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(): return x", "x"),
        ("def f(x): return x", ""),
        ("def f(): return x.y.z()", "x"),
        ("def f():\n  global x\n  x = 1", "x"),
        ("def f():\n  global x\n  del x", "x"),
        ("def f():\n  def g(): return x\n  return g", "x"),
        ("def f(y):\n  def g(): return y\n  return g", ""),
        ("def f(): return [x + y for y in z]", "x z"),
        ("def f(): return lambda: x", "x"),
        ("def f():\n  class A(B):\n    y = z\n    def m(self): return x", "B __name__ x z"),
        ("def f(y):\n  class A:\n    y = y", "__name__ y"),
        ("def f():\n  import x", ""),
        ("def f():\n  from x import y\n  return y(z)", "z"),
        ("def f(): print(x)", "print x"),
        ("async def f(): return await x", "x"),
    ],
)
def test_global_names_of_a_function(source: str, expected: str) -> None:
    code = next(each for each in code_of(source).co_consts if isinstance(each, types.CodeType))
    assert names_of_code(code) == set(expected.split())


def test_global_names_of_a_cell() -> None:
    assert names_of_code(code_of("y = x\nprint(y)")) == {"x", "y", "print"}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is new in Python 3.12")
def test_global_names_of_a_generic_class() -> None:
    names = names_of_code(
        code_of("class A[T: B](C[T]):\n  x: T\n  def m[U](self: U) -> D: return x")
    )
    assert names >= {"B", "C", "D", "x"}
    assert names.isdisjoint({"T", "U"})


def test_names_that_code_reads_many_of_are_all_found() -> None:
    """Beyond 255 the numbers of names need a prefix in the code."""
    source = "def f(): return [" + ", ".join(f"x{number}" for number in range(600)) + "]"
    assert names_of_code(code_of(source)) >= {f"x{number}" for number in range(600)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # Functions
        ("a = 1", ""),
        ("def a(): return k", "k"),
        ("def a(): return missing", ""),
        ("a = lambda: k", "k"),
        ("def a(): return b()\ndef b(): return c()\ndef c(): return k", "b c k"),
        ("def a(): return b()\ndef b(): return a()", "b"),
        ("def a(x=lambda: k): pass", "k"),
        ("def a(*, x=lambda: k): pass", "k"),
        ("def make(x):\n  def f(): return x, l\n  return f\na = make(lambda: k)", "k l"),
        ("def make():\n  def f(): return x, l\n  if k: return f\n  x = 1\na = make()", "l"),
        ("a = functools.partial(lambda x, y: k, lambda: l)", "k l"),
        ("a = functools.partial(print, key=lambda: k)", "k"),
        ("@functools.lru_cache\ndef a(): return k", "k"),
        ("@functools.wraps(lambda: k)\ndef a(): return l", "k l"),
        ("@functools.singledispatch\ndef a(x): return k\n@a.register(int)\ndef b(x): l", "b k l"),
        ("def a(): pass\na.helper = lambda: k", "k"),
        ("def a(): get_ipython().system('echo {k}')", "k"),
        ("def a(df): return df.query('x > @k')", "k"),
        ("def a(df): return df.query('l > @k')", "k"),
        ("def a(df):\n  'About l.'\n  return df.query('x > @k')", "k"),
        ("def a(dfs): return [df.query('x > @k') for df in dfs]", "k"),
        ("def a(df): return df.other('k')", ""),
        # Classes
        ("class a:\n  def m(self): return k", "k"),
        (
            "class a:\n  @staticmethod\n  def m(): return k\n  @classmethod\n  def n(c): return l",
            "k l",
        ),
        ("class a:\n  @property\n  def p(self): return k\n  @p.setter\n  def p(self, x): l", "k l"),
        ("class a:\n  @functools.cached_property\n  def p(self): return k", "k"),
        ("class a:\n  handlers = {'x': [lambda: k]}", "k"),
        ("class a:\n  class B:\n    def m(self): return k", "k"),
        ("class B:\n  def m(self): return k\nclass a(B): pass", "B k"),
        ("class M(type):\n  def m(cls): return k\nclass a(metaclass=M): pass", "M k"),
        ("@dataclass\nclass a:\n  x: list = field(default_factory=lambda: [k])", "k"),
        ("class a(enum.Enum):\n  X = functools.partial(lambda: k)\n  def m(self): return l", "k l"),
        # Instances
        ("class B:\n  def m(self): return k\na = B()", "B k"),
        ("class B:\n  def m(self): return k\na = B().m", "B k"),
        ("class B:\n  def m(self): return k\na = [{'x': (B(),)}]", "B k"),
        ("class B:\n  def m(self): return k\na = [B()]\nB = 1", "k"),
        ("class B: pass\na = B()\na.x = lambda: k", "B k"),
        ("class B:\n  __slots__ = ('x', 'y')\na = B()\na.x = lambda: k", "B k"),
        ("class B(list): pass\na = B([lambda: k])", "B k"),
        ("a = functools.partial(functools.partial(lambda: k).func)", "k"),
        # Containers
        ("def f(): return k\na = [f]", "f k"),
        ("a = [lambda: k]", "k"),
        ("a = (1, {2: {'x': lambda: k}})", "k"),
        ("a = {lambda: k: 1}", "k"),
        ("a = {lambda: k}", "k"),
        ("a = frozenset([lambda: k])", "k"),
        ("a = collections.deque([lambda: k])", "k"),
        ("a = collections.OrderedDict(x=lambda: k)", "k"),
        ("a = collections.defaultdict(lambda: k)", "k"),
        ("a = []\na.append(a)\na.append(lambda: k)", "k"),
        ("a = [collections]", ""),
    ],
)
def test_names_that_a_value_needs(source: str, expected: str) -> None:
    assert needed("a", source) == set(expected.split())


def test_names_come_with_the_reason() -> None:
    namespace = notebook(
        "def f(): return k\n"
        "class A:\n  def m(self): return l\n"
        "class B(A): pass\n"
        "b = B()\n"
        "d = {'x': f, 'y': lambda: m}\n"
        "g = lambda: n\n"
        "m = n = o = 1\n"
    )
    assert follow(["o", "d", "b", "g"], namespace) == {
        "o": "read by the cell",
        "d": "read by the cell",
        "b": "read by the cell",
        "g": "read by the cell",
        "f": "held by 'd'",
        "k": "read by function 'f'",
        "m": "read by a lambda in 'd'",
        "n": "read by function 'g'",
        "B": "class of 'b'",
        "A": "base of class 'B'",
        "l": "read by class 'A'",
    }


def test_class_of_a_value_in_a_container_is_needed_for_it() -> None:
    namespace = notebook("class A: pass\nd = [A()]")
    assert follow(["d"], namespace)["A"] == "class of a value in 'd'"


def test_names_that_the_notebook_lacks_are_left_out() -> None:
    assert follow(["print", "missing"], notebook("")) == {}


def test_nothing_is_followed_through_a_function_of_a_library() -> None:
    library: dict[str, Any] = {"__name__": "library"}
    exec("def f(): return k\nclass A:\n  def m(self): return k", library)
    namespace = notebook("")
    namespace |= {"f": library["f"], "x": library["A"]()}
    assert follow(["f", "x"], namespace).keys() == {"f", "x"}


def test_function_of_the_notebook_is_found_through_the_decorator_of_a_library() -> None:
    library: dict[str, Any] = {"__name__": "library"}
    exec("def twice(f):\n  def call(): return f(), f()\n  return call", library)
    namespace = notebook("")
    namespace["twice"] = library["twice"]
    exec("@twice\ndef f(): return k", namespace)
    assert follow(["f"], namespace).keys() == {"f", "k"}


def test_function_that_an_object_of_a_library_holds_is_found() -> None:
    library: dict[str, Any] = {"__name__": "library"}
    exec("class Holder:\n  def __init__(self, f): self.f = f", library)
    namespace = notebook("def f(): return k")
    namespace["x"] = library["Holder"](namespace["f"])
    assert follow(["x"], namespace).keys() == {"x", "f", "k"}


def test_looking_into_containers_has_an_end() -> None:
    """The pickler will meet the rest."""
    rows = "[[[] for _ in range(900)] for _ in range(900)]"
    namespace = notebook(f"def f(): return k\ndeep = {rows}\ndeep[-1].append(f)")
    assert follow(["deep"], namespace).keys() == {"deep"}


def test_large_container_does_not_hide_what_functions_need() -> None:
    namespace = notebook(
        "def f(): return g()\ndef g(): return k\ndata = [[] for _ in range(20_000)]"
    )
    assert follow(["data", "f"], namespace).keys() == {"data", "f", "g", "k"}


def test_no_code_of_the_notebook_runs() -> None:
    def refuse(*_: object) -> Any:
        raise AssertionError("code of the notebook was called")

    hidden = dict.fromkeys(("__class__", "__dict__", "__mro__", "__name__"), property(refuse))
    namespace = notebook("")
    for base in (object, dict, list, set, tuple):
        meta: Any = type("Meta", (type,), {**hidden, "__module__": "__main__"})
        kind = type.__new__(meta, "Kind", (base,), {**hidden, "__module__": "__main__"})
        namespace[f"kind_{base.__name__}"] = kind
        namespace[f"value_{base.__name__}"] = base.__new__(kind)
        for hook in HOOKS:
            type.__setattr__(meta, hook, refuse)
            type.__setattr__(kind, hook, refuse)
    assert follow(list(namespace), namespace).keys() == namespace.keys()


def test_dictionary_that_a_thread_changes_meanwhile_is_no_error() -> None:
    namespace = notebook("d = {}\ndef f(): return k")
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            namespace["d"].update(dict.fromkeys(range(1000), ()))
            namespace["d"].clear()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            assert follow(["d", "f"], namespace).keys() == {"d", "f", "k"}
    finally:
        sys.setswitchinterval(interval)
        done.set()
        thread.join()
