"""The part of the standard dataclasses that a starting job needs, at no cost. Knows no jobs.

The standard module imports inspect, ast and dis and compiles code for each class: about ten of the
seventy milliseconds of a short job. To a type checker these are the standard ones.
"""

from __future__ import annotations

__all__ = ["asdict", "dataclass", "field", "fields", "replace"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, fields, replace
else:

    class FrozenRecordError(AttributeError):
        """An attempt to change a frozen record."""

    class _Field:
        def __init__(self, name, type, make):
            self.name, self.type, self.make = name, type, make

    class field:  # the standard name
        """A default that is made anew for each record."""

        def __init__(self, *, default_factory):
            self.default_factory = default_factory

    def dataclass(cls=None, /, *, frozen=False):
        """Give a class `__init__`, `__repr__` and `__eq__` of its annotated fields."""
        if cls is None:
            return lambda decorated: dataclass(decorated, frozen=frozen)
        found = {item.name: item for item in getattr(cls, "_record_fields", ())}
        for name, type in cls.__annotations__.items():
            if type.startswith("ClassVar"):
                continue
            default = cls.__dict__.get(name, _MISSING)
            if isinstance(default, field):
                delattr(cls, name)
                found[name] = _Field(name, type, default.default_factory)
            elif default is _MISSING:
                found[name] = _Field(name, type, None)
            else:
                found[name] = _Field(name, type, lambda default=default: default)
        cls._record_fields = tuple(found.values())
        cls.__match_args__ = tuple(found)
        cls.__init__, cls.__repr__, cls.__eq__ = _init, _repr, _eq
        if frozen:
            cls.__setattr__ = cls.__delattr__ = _refuse
            cls.__hash__ = _hash
        else:
            cls.__hash__ = None
        return cls

    _MISSING = object()

    def _init(self, *values, **named):
        known = self._record_fields
        if len(values) > len(known):
            raise TypeError(f"{type(self).__name__}() takes {len(known)} values, got {len(values)}")
        own = self.__dict__
        for number, item in enumerate(known):
            if number < len(values):
                own[item.name] = values[number]
            elif item.name in named:
                own[item.name] = named.pop(item.name)
            elif item.make is not None:
                own[item.name] = item.make()
            else:
                raise TypeError(f"{type(self).__name__}() needs {item.name!r}")
        if named:
            raise TypeError(f"{type(self).__name__}() takes no {next(iter(named))!r}")

    def _repr(self):
        words = ", ".join(f"{item.name}={getattr(self, item.name)!r}" for item in fields(self))
        return f"{type(self).__qualname__}({words})"

    def _eq(self, other):
        if type(other) is not type(self):
            return NotImplemented
        return _values(self) == _values(other)

    def _hash(self):
        return hash(_values(self))

    def _values(record):
        return tuple(getattr(record, item.name) for item in fields(record))

    def _refuse(self, name, *value):
        raise FrozenRecordError(f"{name!r} of a {type(self).__name__} cannot be changed")

    def fields(record):
        """The fields of a record or a class of records, each with `name` and `type`."""
        return record._record_fields

    def asdict(record):
        """The fields of *record* by name; its values are not copied."""
        return {item.name: getattr(record, item.name) for item in fields(record)}

    def replace(record, /, **changes):
        """A copy of *record* with *changes*."""
        return type(record)(**{**asdict(record), **changes})
