"""What a user's functions are made of: told apart by all that they use, and copied as it is now.

Nothing is guessed. Compiled code is kept under the fingerprint of what it was made of, so that a value which cannot be
looked into is refused.
"""

import builtins
import dis
import enum
import hashlib
import inspect
import sys
from types import CellType, CodeType, FunctionType, ModuleType

import numpy as np

LIBRARIES = ("builtins", "math", "cmath", "operator", "_operator", "numpy", "numba")  # what is theirs, its name tells
PLAIN = (type(None), type(...), bool, int, float, complex, str, bytes)  # which show all that they are

_READS_A_GLOBAL, _READS_A_CELL = ("LOAD_GLOBAL", "LOAD_NAME"), ("LOAD_DEREF", "LOAD_CLASSDEREF")
_GOES_INTO = ("LOAD_ATTR", "LOAD_METHOD")
_MANY = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


def fingerprint(*functions):
    """A hash of what functions do: of their code and constants, and of the values of all that they use."""
    found = [_description(function, function.__name__, (function.__name__,)) for function in functions]
    return hashlib.sha256(ascii(found).encode()).hexdigest()[:16]


def frozen(function, name):
    """A copy of a user's function in which the names it uses keep their present values, but for those in modules.

    Raises TypeError, which begins with `name`, for what nobody can look into, and a function that uses such things.
    """
    if _own_function(function) is None and not _library_name(function):
        raise TypeError(
            f"{name}: expected a function that is written in Python or belongs to NumPy, found {_kind_of(function)}; "
            "write it with def"
        )
    _description(function, name, (name,))
    return _copied(function)


def _copied(function):
    return rebuilt(function, _copied)


def rebuilt(function, change):
    """A copy of a function, with those that it uses changed; one of Python's or NumPy's is returned as it is."""
    own = _own_function(function)
    if own is None:
        return function

    def changed(value):
        if isinstance(value, tuple):
            items = map(changed, value)
            return value._make(items) if hasattr(value, "_fields") else tuple(items)
        if isinstance(value, (np.ndarray, np.void)):
            return value.copy()
        return value if _own_function(value) is None else change(value)

    names = {"__name__", "__builtins__", *(name for name, is_global, _ in _reads(own) if is_global)}
    world = {name: changed(own.__globals__[name]) for name in names & own.__globals__.keys()}
    cells = tuple(CellType(changed(cell.cell_contents)) for cell in own.__closure__ or ())
    return FunctionType(own.__code__, world, own.__name__, changed(own.__defaults__), cells)


def _own_function(value):
    """The Python function that a value is, or that it was compiled from, if it is none of a library."""
    function = getattr(value, "py_func", value)
    return function if inspect.isfunction(function) and not _library_name(value) else None


def _library_name(value):
    """The dotted name of what belongs to Python, NumPy or Numba, else an empty one."""
    name, home = getattr(value, "__name__", ""), getattr(value, "__module__", None) or "numpy"  # whose ufuncs have none
    if not isinstance(name, str) or str(home).partition(".")[0] not in LIBRARIES:
        return ""
    return f"{home}.{name}" if getattr(sys.modules.get(home), name, None) is value else ""


def _description(value, name, path):
    """Nested tuples of plain values that differ wherever two values do, to whatever is compiled from them.

    `name` is that of the value; `path` begins with what a refusal names, and goes on with the functions on the way.
    """
    kind = type(value)

    def parts(values):
        return tuple(_description(item, name, path) for item in values)

    if kind in PLAIN:
        return kind.__name__, value
    if (isinstance(value, np.generic) or kind is np.ndarray) and not value.dtype.hasobject:
        return kind.__name__, repr(value.dtype), value.shape, hashlib.sha256(value.tobytes()).digest()
    if kind is tuple or _is_named_tuple(kind):
        return kind.__name__, getattr(value, "_fields", ()), parts(value)
    if kind is frozenset:  # among the constants of code
        return kind.__name__, sorted(map(ascii, parts(value)))
    if isinstance(value, enum.Enum):
        return value.name, parts((kind, value.value))
    if isinstance(value, enum.EnumMeta):
        members = value.__members__
        return [base.__qualname__ for base in value.__mro__], [*members], parts(item.value for item in members.values())
    if _is_named_tuple(value):
        return value.__qualname__, value._fields, [*value._field_defaults], parts(value._field_defaults.values())
    if _library_name(value):
        return "library", _library_name(value)
    if _own_function(value) is not None:
        return _of_function(_own_function(value), path)
    raise TypeError(
        f"{_place(path)}: expected a number, a string, a tuple or named tuple, an enum, an array, a function or a part "
        f"of a module as whatever it uses, found {name}, {_kind_of(value)}; put its numbers into one of these, or make "
        "them parameters"
    )


def _is_named_tuple(kind):
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def _kind_of(value):
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    return f"the module {value.__name__} itself" if isinstance(value, ModuleType) else f"a {type(value).__name__}"


def _place(path):
    return ", in ".join([path[0], *(function.__name__ for function in path[2:])])


def _of_function(function, path):
    code, within = function.__code__, (*path, function)
    if function in path:
        raise TypeError(
            f"{_place(path)}: expected functions that do not call themselves, found {function.__name__}; write a loop"
        )
    if code.co_flags & _MANY or code.co_kwonlyargcount:
        raise TypeError(
            f"{_place(within)}: expected arguments that have their places, found {inspect.signature(function)}; leave "
            "out the stars"
        )
    for step in (step for code in _codes(function.__code__) for step in _steps(code)):
        if step.opname == "IMPORT_NAME":
            raise TypeError(
                f"{_place(within)}: expected no import in it, found that of {step.argval}; put it above the function"
            )
    used = tuple((name, _description(value, name, within)) for name, value in _used(function, within))
    return _of_code(code, within), _description(function.__defaults__, "a default", within), used


def _of_code(code, path):
    """All of a code object that has a bearing on what it does."""
    constants = [
        _of_code(item, path) if isinstance(item, CodeType) else _description(item, "a constant", path)
        for item in code.co_consts
    ]
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    handlers = getattr(code, "co_exceptiontable", b"")  # new in Python 3.11
    return code.co_code, handlers, names, (code.co_argcount, code.co_flags), constants


def _used(function, path):
    """What a function takes from outside, by name; of a module that which it takes from there, by dotted name."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or ()))
    found = {}
    for name, is_global, after in _reads(function):
        try:
            value = function.__globals__[name] if is_global else cells[name].cell_contents
            for step in after:
                if not isinstance(value, ModuleType) or step.opname not in _GOES_INTO:
                    break
                name = f"{name}.{step.argval}"
                value = getattr(value, step.argval)
        except (KeyError, ValueError, AttributeError):
            raise TypeError(
                f"{_place(path)}: expected that all it uses has a value by now, found {name}, which has none; define "
                "it before"
            ) from None
        found[name] = value
    return found.items()


def _reads(function):
    """Where a function takes a value from outside: its name, whether it is a global one, and the steps thereafter."""
    for code in _codes(function.__code__):
        steps = _steps(code)
        for at, step in enumerate(steps):
            is_global = step.opname in _READS_A_GLOBAL
            of_python = is_global and step.argval not in function.__globals__ and hasattr(builtins, step.argval)
            of_cell = step.opname in _READS_A_CELL and step.argval in function.__code__.co_freevars
            if (is_global and not of_python) or of_cell:
                yield step.argval, is_global, steps[at + 1 :]


def _steps(code):
    return [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]


def _codes(code):
    """A code object and all that are nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
