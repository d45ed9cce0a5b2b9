"""Which names a cell reads, binds and deletes."""

from __future__ import annotations

import builtins
import dataclasses
import sys

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from persist_magic.capture import CellNames, names_of_cell

# Source, names read (without those of builtins), names bound.
PYTHON = [
    # Straight on
    ("x", "x", ""),
    ("x = a", "a", "x"),
    ("x = 1; print(x)", "", "x"),
    ("print(x); x = 1", "x", "x"),
    ("x = x", "x", "x"),
    ("x += 1", "x", "x"),
    ("x = 0; x += 1", "", "x"),
    ("x.y = z", "x z", ""),
    ("x[i] = z", "x i z", ""),
    ("x.y += z", "x z", ""),
    ("x[i] += z", "x i z", ""),
    ("a = b = c", "c", "a b"),
    ("a, (b, *c) = d; a, b, c", "d", "a b c"),
    ("x[y] = y = 1", "x y", "y"),
    ("y = x[y] = 1", "x", "y"),
    ("x: int", "", ""),
    ("x: int\nx", "x", ""),
    ("x: T = a; x", "T a", "x"),
    ("x.y: T = a", "T a x", ""),
    ("f'{a!r:{b}} {c:>{d}}'", "a b c d", ""),
    ("print(*a, **b)", "a b", ""),
    ("x[a:b:c]", "x a b c", ""),
    ("assert a, b", "a b", ""),
    ("raise a from b", "a b", ""),
    ("raise a\nprint(b)", "a", ""),
    ("await f(x)", "f x", ""),
    # Imports
    ("import a; a", "", "a"),
    ("import a.b.c; a", "", "a"),
    ("import a.b as c; c", "", "c"),
    ("from a import b, c as d; b, d", "", "b d"),
    ("from a import c as d; c", "c", "d"),
    ("import numpy as np\nx = np.zeros(n)", "n", "np x"),
    ("from __main__ import f as g", "f", "g"),
    # Branches
    ("if c: x = 1\nprint(x)", "c x", "x"),
    ("if c: x = 1\nelse: x = 2\nprint(x)", "c", "x"),
    ("if c: x = 1\nelif d: x = 2\nprint(x)", "c d x", "x"),
    ("if c: x = 1\nelse: raise E\nprint(x)", "c E", "x"),
    ("if c:\n  x = 1\n  print(x)", "c", "x"),
    ("if (x := c): pass\nx", "c", "x"),
    ("(x := a) if (y := b) else (z := c); x, y, z", "a b c x z", "x y z"),
    ("(x := a) if b else (x := c); x", "a b c", "x"),
    ("(x := a) and (y := b); x, y", "a b y", "x y"),
    ("a and (y := b) and y", "a b", "y"),
    ("a < (x := b) < (y := c); x, y", "a b c y", "x y"),
    ("f(x := a, x)", "f a", "x"),
    ("f(x, x := a)", "f a x", "x"),
    ("{'a': y, (y := 1): 2}", "y", "y"),
    ("{(y := 1): y, **y}", "", "y"),
    ("assert (x := a)\nx", "a x", "x"),
    # Loops
    ("for i in xs: print(i)", "xs", "i"),
    ("for i in xs: pass\nprint(i)", "xs i", "i"),
    ("for i in i: pass", "i", "i"),
    ("for i in xs:\n  y = i\n  print(y)", "xs", "i y"),
    ("for i in xs:\n  y = i\nprint(y)", "xs y", "i y"),
    ("for i in xs:\n  print(y)\n  y = i", "xs y", "i y"),
    ("for i in xs:\n  if i: break\n  y = 1\nelse: print(y)", "xs y", "i y"),
    ("for i in xs:\n  y = 1\n  break\nelse: y = 2\nprint(y)", "xs", "i y"),
    ("for x[k], y.z in xs: pass", "xs x k y", ""),
    ("y = 1\nfor i in xs:\n  print(y)\n  del y", "xs y", "y i"),
    ("while x: x = y", "x y", "x"),
    ("while (x := f()): print(x)\nx", "f", "x"),
    ("while c: x = 1\nx", "c x", "x"),
    ("while True:\n  x = 1\n  if x: break\nx", "", "x"),
    ("while True:\n  if c: break\n  x = 1\nx", "c x", "x"),
    ("while True:\n  for i in a:\n    break\n  x = 1\n  break\nx", "a", "i x"),
    ("while True:\n  try:\n    x = 1\n    break\n  finally: del x\nx", "x", "x"),
    ("while c:\n  if d: continue\n  else: x = 1\n  print(x)", "c d", "x"),
    ("while 1: f()\nprint(x)", "f", ""),
    ("async for i in xs: print(i)", "xs", "i"),
    # with
    ("with a as b: print(b)", "a", "b"),
    ("with a as b: pass\nprint(b)", "a", "b"),
    ("with a as (b, c): print(b)\nc", "a c", "b c"),
    ("with a as b, b.c as d: d", "a", "b d"),
    ("with a as b, c as d: pass\nb, d", "a c d", "b d"),
    ("with suppress(E): x = f()\nprint(x)", "suppress E f x", "x"),
    ("x = 1\nwith a: del x\nx", "a x", "x"),
    ("async with a as b: b", "a", "b"),
    # try
    ("try: x = f()\nexcept E: pass\nprint(x)", "f E x", "x"),
    ("try: x = f()\nexcept E: x = 1\nprint(x)", "f E", "x"),
    ("try: x = f()\nexcept E: raise\nprint(x)", "f E", "x"),
    ("try: x = f()\nexcept E: print(x)", "f E x", "x"),
    ("try: x = f()\nexcept E: pass\nelse: print(x)", "f E", "x"),
    ("try: x = f()\nfinally: print(x)", "f x", "x"),
    ("try: f()\nfinally: x = 1\nprint(x)", "f", "x"),
    ("try: x = f()\nfinally: y = 1\nprint(x, y)", "f", "x y"),
    ("try: x = f()\nfinally: del y\nprint(x, y)", "f y", "x"),
    ("try: f()\nexcept E as e: print(e)", "f E", "e"),
    ("try: f()\nexcept E as e: pass\nprint(e)", "f E e", "e"),
    ("e = 1\ntry: f()\nexcept E as e: pass\nprint(e)", "f E e", "e"),
    ("try: import a\nexcept ImportError: a = None\na", "", "a"),
    ("x = 1\ntry: del x; f()\nexcept E: print(x)", "f E x", "x"),
    # match
    ("match s:\n  case [a, *b]: print(a, b)", "s", "a b"),
    ("match s:\n  case {'k': v, **r}: print(v, r)", "s", "v r"),
    ("match s:\n  case P(x=1, y=q) as w: print(q, w)", "s P", "q w"),
    ("match s:\n  case m.A | m.B: pass", "s m", ""),
    ("match s:\n  case [a]: pass\nprint(a)", "s a", "a"),
    ("match s:\n  case [a]: pass\n  case a: pass\nprint(a)", "s", "a"),
    ("match s:\n  case 1: x = 1\n  case _: x = 2\nprint(x)", "s", "x"),
    ("match s:\n  case 1: x = 1\n  case _ if c: x = 2\nprint(x)", "s c x", "x"),
    ("match s:\n  case a if a > t: pass", "s t", "a"),
    ("match s:\n  case 1 | _: x = 1\nprint(x)", "s", "x"),
    # Functions
    ("def f(): return x", "x", "f"),
    ("def f(): return f()", "", "f"),
    ("@cache\ndef f(): return f()", "cache", "f"),
    ("def f(a): return a", "", "f"),
    ("def f(a, /, b, *c, d, **e): return a, b, c, d, e", "", "f"),
    ("def f(a=x, *, b=y): pass", "x y", "f"),
    ("def f(a=a): return a", "a", "f"),
    ("def f(a: T) -> R: pass", "T R", "f"),
    ("def f(*a: T, **b: U): pass", "T U", "f"),
    ("def f():\n  x: T = 1\n  return x", "", "f"),
    ("@d(x)\ndef f(): pass", "d x", "f"),
    ("@f\ndef f(): pass", "f", "f"),
    ("def f():\n  x = 1\n  return x", "", "f"),
    ("def f():\n  print(x)\n  x = 1", "", "f"),
    ("def f():\n  x = 1\n  def g(): return x, y\n  return g", "y", "f"),
    ("def f():\n  x = 1\n  def g():\n    nonlocal x\n    x = 2", "", "f"),
    ("def f():\n  global x\n  x = 1", "", "f x"),
    ("def f():\n  global x\n  x += 1", "x", "f x"),
    ("def f():\n  global x\n  x = 1\n  print(x)", "", "f x"),
    ("def f():\n  global x\n  x = 1\nprint(x)", "x", "f x"),
    ("def f(x):\n  def g():\n    global x\n    def h(): return x\n", "x", "f"),
    (
        "def f():\n  for i in a: b = i\n  with c as d: pass\n  import e\n  return b, d, e",
        "a c",
        "f",
    ),
    ("def f():\n  try: pass\n  except E as e: print(e)\n  print(e)", "E", "f"),
    ("def f():\n  match x:\n    case [y, *z]: return y, z", "x", "f"),
    ("def f():\n  return 1\n  print(x)", "", "f"),
    ("def f():\n  (y := x)\n  return y", "x", "f"),
    ("def f():\n  [y := i for i in x]\n  return y", "x", "f"),
    ("def f():\n  [(lambda: (y := i)) for i in x]\n  return y", "x y", "f"),
    ("async def f():\n  async for i in x: await i", "x", "f"),
    ("x = 1\ndef f(): return x", "", "f x"),
    ("def f(): return x\nf()\nx = 1", "x", "f x"),
    ("def f(): return x\nx = 1\nf()", "", "f x"),
    ("def f(): return x\nx = a()\nf()", "x a", "f x"),
    ("def f(): return g()\ndef g(): return f()\nf()", "", "f g"),
    ("def f(): return g()\n@d\ndef g(): pass", "d g", "f g"),
    ("if c:\n  def f(): return g()\n  def g(): pass", "c", "f g"),
    ("def f(): return x\ndel x", "x", "f"),
    ("lambda x, y=z: x + y + w", "z w", ""),
    ("f = lambda: f()", "", "f"),
    ("x = sorted(a, key=lambda v: x[v])", "a x", "x"),
    # Classes
    ("class A: pass\nA", "", "A"),
    ("class A(B, metaclass=M): pass", "B M", "A"),
    ("class A(A): pass", "A", "A"),
    ("@d\nclass A: pass", "d", "A"),
    ("class A:\n  x = y", "y", "A"),
    ("class A:\n  x = 1\n  y = x", "", "A"),
    ("class A:\n  y = x\n  x = 1", "x", "A"),
    ("class A:\n  x = x", "x", "A"),
    ("class A:\n  if c: x = 1\n  y = x", "c x", "A"),
    ("class A:\n  x = 1\n  def m(self): return x", "x", "A"),
    ("class A:\n  x = 1\n  y = [x for i in z]", "x z", "A"),
    ("class A:\n  x = 1\n  y = [i for i in x]", "", "A"),
    ("class A:\n  x = 1\n  f = lambda self: x", "x", "A"),
    ("class A:\n  def m(self): return A()", "", "A"),
    ("class A(B):\n  def m(self): return A()", "B", "A"),
    ("class A:\n  a = A", "A", "A"),
    ("class A:\n  (lambda: x)()\n  while True: f()", "x f", "A"),
    ("class A:\n  global x\n  x = 1\nx", "", "A x"),
    ("class A:\n  x: T\n  y: U = v", "T U v", "A"),
    ("class A:\n  def m(self): return __x", "_A__x", "A"),
    ("class _A:\n  __x = 1\n  y = __x", "", "_A"),
    ("class A:\n  class B:\n    def m(self): return A, B", "B", "A"),
    ("class A:\n  def m(self): return B()\nclass B: pass\nA()", "", "A B"),
    ("class A:\n  def m(self): return B()\nclass B(C): pass\nA()", "B C", "A B"),
    ("def f(x):\n  class A:\n    y = x\n    def m(self): return x", "", "f"),
    ("def f(x):\n  class A:\n    x = x", "x", "f"),
    ("@dataclass\nclass A:\n  x: int = field(default_factory=list)", "dataclass field", "A"),
    # Comprehensions
    ("[x for x in xs]", "xs", ""),
    ("[x for x in x]", "x", ""),
    ("[x for x in xs]\nx", "xs x", ""),
    ("{k: v for k, v in xs if k > t}", "xs t", ""),
    ("{x for y in ys for x in y}", "ys", ""),
    ("[x for y in ys for x in z]", "ys z", ""),
    ("list(x + k for x in xs)", "xs k", ""),
    ("[y for x in xs if (y := x)]", "xs", "y"),
    ("[y := x for x in xs]\ny", "xs y", "y"),
    ("[[x, y] for x in xs for y in [x for x in x]]", "xs", ""),
    ("[lambda: x + k for x in xs]", "xs k", ""),
    ("[i async for i in xs]", "xs", ""),
    # Deletion
    ("del x", "x", ""),
    ("x = 1; del x", "", "x"),
    ("x = 1; del x; print(x)", "x", "x"),
    ("x = 1; del x; x = 2; print(x)", "", "x"),
    ("del x[i], y.z", "x i y", ""),
    ("def f():\n  x = 1\n  del x", "", "f"),
    # Names inside strings
    ("eval('a + b')", "a b", ""),
    ("exec('a = b')", "a b", ""),
    ("df.query('col > @t')", "df t", ""),
    ("df.query(f'{a} > @t')", "df a t", ""),
    ("duckdb.sql('select * from df')", "duckdb select df", ""),
    ("'x {y}'.format(y=z)", "z", ""),
]
if sys.version_info >= (3, 11):
    PYTHON += [("try: x = f()\nexcept* E as e: print(e)\nx", "f E x", "x e")]
if sys.version_info >= (3, 12):
    PYTHON += [
        ("def f[T: B](a: T) -> U: return T, x", "B U x", "f"),
        ("class A[T](B[T]):\n  x: T\n  def m(self, a: T): return T", "B", "A"),
        ("class A:\n  t = 1\n  def m[T](self, a: t): pass", "", "A"),
        ("type X[T] = dict[T, Y] | X[T]", "Y", "X"),
        ("f'{'a' + x}'", "x", ""),
    ]

# The cell as it was typed.
IPYTHON = [
    ("%timeit f(x)", "f x", ""),
    ("%timeit -n 10 -r3 -qo f(x)", "f x", ""),
    ("%timeit y = f(x); g(y)", "f x g", ""),
    ("%timeit -x", "x", ""),
    ("r = %timeit -o f(x)", "f x", "r"),
    ("%%timeit y = f(x)\ng(y)", "f x g", ""),
    ("%%timeit -n 2\ny = f(x)\ng(y)", "f x g", ""),
    ("%time y = f(x)", "f x", "y"),
    ("%time y = f(x)\ny", "f x y", "y"),
    ("y = %time f(x)\ny", "f x", "y"),
    ("%time --no-raise-error y = f(x)", "f x", "y"),
    ("%%time\ny = f(x)\ng(y)", "f x g", "y"),
    ("%%time\ndef f(): return g()\ndef g(): return k\nf()", "k", "f g"),
    ("%%time\ny = f(x)\n%timeit g(y)\n!echo {z}", "f x g z", "y"),
    ("%%time\nfor i in xs:\n    files = !ls {i} $d\n    %cd {p}\n", "xs d p", "i files"),
    ("%%time\n%%capture out\ny = f(x)", "f x", "y out"),
    ("%%time\ny?\nx", "x y", ""),
    ("%%time\nx = (a\n  % b)", "a b", "x"),
    ("%%time\nthis is( no python", "this no python", ""),
    ("%prun -s cumulative -l 5 f(x)", "f x", ""),
    ("%%prun\ny = f(x)", "f x", "y"),
    ("%memit -r 3 f(x)", "f x", ""),
    ("%mprun -f m.g f(x)", "m f x", ""),
    ("%lprun -f g -f h f(x)", "g h f x", ""),
    ("%%capture\ny = f(x)", "f x", "y"),
    ("%%capture out --no-stderr\ny = f(x)\ny", "f x", "y out"),
    ("!echo {x} $y ${z} $w.v $$HOME '{q}'", "x y z w q", ""),
    ("!echo {f(a)[b:]} {{c}}", "f a b", ""),
    ("!echo {[i for i in x]}", "x", ""),
    ("!awk '{print $1}' data", "", ""),
    ("!echo {x", "", ""),
    ("a = !ls {x}", "x", "a"),
    ("!!ls {x}", "x", ""),
    ("x = 1\n!echo {x} {y}", "y", "x"),
    ("def f(x):\n    !echo {x} {y}", "y", "f"),
    ("for i in xs:\n    !echo $i", "xs", "i"),
    ("%sx ls {x}", "x", ""),
    ("%%sx\nls {x}", "x", ""),
    ("%%bash\necho $x {y}", "", ""),
    ("%%bash -s {x} $y\necho $1", "x y", ""),
    ("%%bash --out o --err=e\necho $x", "", "o e"),
    ("%%script python --proc p\nprint(x)", "", "p"),
    ("%%writefile {name}.py\nprint(x)", "name", ""),
    ("%%html\n<b>x</b>", "", ""),
    ("obj?", "obj", ""),
    ("obj.attr??", "obj", ""),
    ("?obj", "obj", ""),
    ("%cd data/$x", "x", ""),
    ("%env A={x}", "x", ""),
    ("%pip install torch", "", ""),
    ("%load_ext autoreload\n%autoreload 2", "", ""),
    ("%matplotlib inline", "", ""),
    ("%store df", "df", ""),
    ("%run script.py {x}", "x", ""),
    ("%unheard f(x).y z.w", "f x y z", ""),
    ("%%unheard a\nb.c(d)", "a b d", ""),
    ("x = get_ipython()", "", "x"),
]


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def of_cell(source: str) -> CellNames:
    """The names of a cell as it was typed."""
    return names_of_cell(TransformerManager().transform_cell(source))


def own_reads(found: CellNames) -> frozenset[str]:
    return found.reads.difference(dir(builtins))


@pytest.mark.parametrize(("source", "reads", "binds"), PYTHON)
def test_names_of_python(source: str, reads: str, binds: str) -> None:
    found = names_of_cell(source)
    assert (own_reads(found), found.binds) == (names(reads), names(binds))


@pytest.mark.parametrize(("source", "reads", "binds"), PYTHON)
def test_magic_that_runs_a_cell_changes_none_of_its_names(
    source: str, reads: str, binds: str
) -> None:
    found = of_cell(f"%%time\n{source}")
    assert (own_reads(found), found.binds) == (names(reads), names(binds))


@pytest.mark.parametrize(("source", "reads", "binds"), IPYTHON)
def test_names_of_ipython(source: str, reads: str, binds: str) -> None:
    found = of_cell(source)
    assert (own_reads(found), found.binds) == (names(reads), names(binds))


@pytest.mark.parametrize(
    ("source", "deletes"),
    [
        ("del x", "x"),
        ("del (x, [y]), z", "x y z"),
        ("x = 1; del x", "x"),
        ("if c: del x", "x"),
        ("del x[i], y.z", ""),
        ("def f():\n  x = 1\n  del x", ""),
        ("def f():\n  global x\n  del x", "x"),
        ("class A:\n  x = 1\n  del x", ""),
        ("try: f()\nexcept E as e: pass", ""),
        ("%%time\ndel x", "x"),
        ("%timeit y = 1; del y", ""),
    ],
)
def test_deleted_names(source: str, deletes: str) -> None:
    assert of_cell(source).deletes == names(deletes)


def test_star_imports_name_their_modules_once_and_in_order() -> None:
    found = names_of_cell("from b import *\nfrom a.c import *\nif x:\n  from b import *")
    assert found.star_imports == ("b", "a.c")
    assert found.binds == set()


def test_star_import_binds_no_name_for_certain() -> None:
    assert names_of_cell("from math import *\nprint(pi)").reads == {"print", "pi"}


@pytest.mark.parametrize(
    ("source", "dynamic"),
    [
        ("x = 1", ()),
        ("eval(x); exec(y); eval(z)", ("eval", "exec")),
        ("df.eval(x); model.eval()", ()),
        ("exec = 1; exec", ()),
        ("map(eval, xs)", ("eval",)),
        ("globals()['x']", ("globals()",)),
        ("def f(): return globals()", ("globals()",)),
        ("locals(); vars()", ("locals()", "vars()")),
        ("def f(): return locals(), vars()", ()),
        ("vars(x)", ()),
        ("get_ipython().user_ns['x']", ("get_ipython().user_ns",)),
        ("ip = get_ipython()", ("get_ipython()",)),
        ("get_ipython().system(command)", ("get_ipython().system",)),
        ("get_ipython().system('ls')", ()),
        ("import __main__", ("__main__",)),
        ("%run script.py", ("%run",)),
        ("%%time\nx = 1\neval(y)", ("eval",)),
        ("def f(): exec(x)\neval(y)", ("exec", "eval")),
    ],
)
def test_constructs_that_use_names_unseen(source: str, dynamic: tuple[str, ...]) -> None:
    assert of_cell(source).dynamic == dynamic


def test_shell_of_the_cell_is_not_read() -> None:
    assert own_reads(of_cell("%cd x\nget_ipython().user_ns")) == set()


def test_name_of_a_builtin_is_read_because_the_notebook_may_define_its_own() -> None:
    assert names_of_cell("print(max(x))").reads == {"print", "max", "x"}


def test_annotation_is_read_though_it_is_not_evaluated() -> None:
    """Libraries that make classes from annotations resolve them by name."""
    found = names_of_cell("from __future__ import annotations\nclass A:\n  x: T")
    assert found.reads == {"T"}


@pytest.mark.parametrize(
    "source", ["x = = 1", "return 1", "break", "nonlocal x", "def f(a, a): pass", "(x := 1) = 2"]
)
def test_invalid_python_is_refused_as_by_the_compiler(source: str) -> None:
    with pytest.raises(SyntaxError):
        names_of_cell(source)


def test_empty_cell_has_no_names() -> None:
    assert names_of_cell("") == CellNames(frozenset(), frozenset(), frozenset(), (), ())


def test_doubtful_python_gives_no_warning() -> None:
    found = names_of_cell("x is 1\n'\\d'\nget_ipython().run_cell_magic('time', '', 'y is 1')")
    assert found.reads == {"x", "y"}


def test_sum_of_many_terms_is_no_obstacle() -> None:
    assert names_of_cell(" + ".join(f"x{i}" for i in range(600))).reads >= {"x0", "x599"}


def test_names_of_a_cell_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        names_of_cell("x").reads = frozenset()  # type: ignore[misc]
