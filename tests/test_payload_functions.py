"""Functions of a notebook: to a job, and back to another kernel of the notebook."""

from __future__ import annotations

import pytest

from cells import Course, cases_in, travel

# Each case: what it shows, and the names that are sent; a cell that defines them; what must hold.
CASES = cases_in(
    """
=== a function sees its globals as they are now: times_k k
k = 3

def times_k(x):
    return x * k
---
assert times_k(2) == 6
k = 5
assert times_k(2) == 10
k = 3
assert times_k.__globals__ is globals() and times_k.__module__ == "__main__"

=== a function keeps defaults, annotations and attributes: annotated
def annotated(a: int, b: str = "x", *, c: list = [1]) -> dict:
    "Says more."
    return (a, b, c)

annotated.calls = 7
---
assert annotated(1) == (1, "x", [1]) and annotated.calls == 7
assert annotated.__annotations__ == {"a": int, "b": str, "c": list, "return": dict}
assert annotated.__doc__ == "Says more."

=== recursion: fact fib
def fact(n):
    return n * fact(n - 1) if n else 1

def closed():
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    return fib

fib = closed()
---
assert fact(5) == 120 and fib(10) == 55

=== functions that share a variable of a closure: inc get
def counter():
    n = 0

    def inc():
        nonlocal n
        n += 1
        return n

    def get():
        return n

    return inc, get

inc, get = counter()
---
n = get()
inc()
assert get() == n + 1

=== lambdas in a dict, partials and bound methods: table offset bound
import functools

offset = 1
table = {"add": lambda x: x + offset, "mul": functools.partial(lambda a, b: a * b, 3)}

class Holder:
    def double(self, x):
        return 2 * x

bound = Holder().double
---
assert table["add"](1) == 2 and table["mul"](4) == 12 and bound(4) == 8

=== decorators keep what they wrap: one context
import functools, contextlib

def twice(f):
    @functools.wraps(f)
    def inner(*a):
        return 2 * f(*a)

    return inner

@twice
def one():
    return 1

@contextlib.contextmanager
def context():
    yield 5
---
assert one() == 2 and one.__wrapped__() == 1
with context() as c:
    assert c == 5

=== lru_cache: cached fibonacci
import functools

@functools.lru_cache(maxsize=7)
def cached(x):
    return [x]

@functools.cache
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
---
assert cached(1) is cached(1) and cached.cache_parameters()["maxsize"] == 7
assert fibonacci(60) == 1548008755920

=== singledispatch: kind
import functools

@functools.singledispatch
def kind(x):
    return "object"

@kind.register
def _(x: int):
    return "int"
---
assert kind("") == "object" and kind(1) == "int"

=== a generator function and a coroutine function: numbers waiting
def numbers(n):
    yield from range(n)

async def waiting():
    return 4
---
assert list(numbers(3)) == [0, 1, 2]
try:
    waiting().send(None)
except StopIteration as stop:
    assert stop.value == 4

=== generators behind module functions stay those of the module: draw set_seed
import random
from random import random as draw, seed as set_seed
---
import random

set_seed(1)
a = draw()
random.seed(1)
assert random.random() == a

=== new types and parameters of types: who UserId
import typing

UserId = typing.NewType("UserId", int)
P = typing.ParamSpec("P")

def who(user: UserId, other: typing.Callable[P, int] = len) -> UserId:
    return user
---
assert who(UserId(3)) == 3 and who.__annotations__["return"] is UserId

=== submodules that a function uses: parse xml
import xml.dom.minidom

def parse(text):
    return xml.dom.minidom.parseString(text)
---
assert parse("<a/>").documentElement.tagName == "a"

=== a value that is known by its name: row other MISSING
class Missing:
    def __reduce__(self):
        return "MISSING"

    def __repr__(self):
        return "-"

MISSING = Missing()
row, other = [MISSING], [MISSING]
---
assert row[0] is MISSING and other[0] is MISSING and repr(MISSING) == "-"

=== a decorator that is a class: work
class Memo:
    def __init__(self, f):
        self.f = f
        self.seen = {}

    def __call__(self, x):
        if x not in self.seen:
            self.seen[x] = self.f(x)
        return self.seen[x]

@Memo
def work(x):
    return [x]

work(1)
---
assert work(1) is work(1) and work(2) == [2]

=== closures in closures: outer_f h
def outer(a):
    b = [a]

    def mid():
        c = a + 1

        def inner():
            nonlocal c
            c += 1
            return (a, b, c, me is mid)

        me = mid
        return inner

    return mid

outer_f = outer(1)
h = outer_f()
---
r = h()
assert r[0] == 1 and r[1] == [1] and r[2] >= 3 and r[3] is True

=== asynchronous generators and contexts: agen acm
import contextlib

async def agen():
    yield 1

@contextlib.asynccontextmanager
async def acm():
    yield 2
---
import asyncio

async def main():
    async with acm() as v:
        return [x async for x in agen()] + [v]

assert asyncio.run(main()) == [1, 2]

=== a vectorized function: vec uf fn
import numpy as np

vec = np.vectorize(lambda x: x + 1)
fn = np.random.default_rng
uf = np.add
---
assert vec([1]).tolist() == [2] and uf(1, 2) == 3
"""
)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """All cases, on their way through three processes."""
    return travel(CASES, tmp_path_factory.mktemp("course"))


@pytest.mark.parametrize("name", CASES)
def test_functions_work_in_the_job_and_in_another_kernel(course: Course, name: str) -> None:
    assert course.kernel.get(name, "") == ""
    assert course.job.get(name, "") == ""
    assert course.next_kernel.get(name, "") == ""
