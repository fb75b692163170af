"""Faults as a syntax tree makes them: where they lie, and the source with one of them."""

import ast
from pathlib import Path
from typing import NamedTuple

import l96kit
import l96kit.kernels
import l96kit.reference

FOLDERS = {
    "": Path(l96kit.__file__).parent,
    "kernels": Path(l96kit.kernels.__file__).parent,
    "reference": Path(l96kit.reference.__file__).parent,
    "validation": Path(__file__).parent,
}


class Fault(NamedTuple):
    """A fault, with the statement that it lies in as it was and as it is, and the whole source with it."""

    path: str
    function: str
    before: str
    after: str
    source: str


def tree_of(path):
    """The syntax tree of a file of the package, named by its place in it."""
    return ast.parse(file_of(path).read_text())


def file_of(path):
    folder, _, file = path.rpartition("/")
    return FOLDERS[folder] / file


def find(node, names):
    """The function or class of these names, one in the other."""
    for child in ast.walk(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)) and child.name == names[0] and child is not node:
            return find(child, names[1:]) if names[1:] else child
    raise LookupError(
        f"{names[0]}: expected a function or class of that name to plant faults in, found none; mend the list of places"
    )


def faults_in(tree, path, function, node, variants, guards=False):
    """All faults in a function: `variants(node, parent, known)` says what a slip could have made of a node; `known` are
    the names that the function uses. `guards`: also in tests that end in an error."""
    known = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    known |= {argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)}
    for statement, parent, key, index, child in _children(node, node, guards):
        before = _in_words(statement)
        for variant in variants(child, parent, known):
            _put(parent, key, index, variant)
            now = variant if child is statement else statement
            after = "(left out)" if isinstance(now, ast.Pass) else _in_words(now)
            source = ast.unparse(ast.fix_missing_locations(tree))
            _put(parent, key, index, child)
            yield Fault(path, function, before, after, source)


def _children(node, statement, guards):
    """(statement, parent, field, position in a list or None, child) for all nodes below.

    Left out are what errors say, and what `_launch` and `_run` are told, beside the arrays, about threads.
    """
    for key, value in ast.iter_fields(node):
        if key in ("decorator_list", "args") and isinstance(node, ast.FunctionDef):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or isinstance(child, (ast.Raise, ast.JoinedStr, ast.expr_context)):
                continue
            if isinstance(child, ast.If) and isinstance(child.body[-1], ast.Raise) and not guards:
                continue
            within = child if isinstance(child, ast.stmt) else statement
            yield within, node, key, index, child
            if not (isinstance(child, ast.Call) and called(child) in ("_launch", "_run")):
                yield from _children(child, within, guards)


def _put(parent, key, index, child):
    if index is None:
        setattr(parent, key, child)
    else:
        getattr(parent, key)[index] = child


def _in_words(statement):
    """The statement, of a compound one its first line."""
    return ast.unparse(ast.fix_missing_locations(statement)).strip().splitlines()[0]


def called(call):
    return getattr(call.func, "attr", getattr(call.func, "id", ""))
