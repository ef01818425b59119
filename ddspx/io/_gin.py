"""Reading the values of gin files, the configs of TensorFlow's research code. Nothing is executed.

A line binds a value to a parameter of a function or class: ``module.name.parameter = value``.
Values are literals of Python, ``@name`` for a function or class, ``@name()`` for what it returns,
and ``%name`` for a macro: a value that is bound to ``name`` alone. A block binds several
parameters, one in each indented line after ``name:``.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ddspx._text import printable

_MOST_CHARACTERS = 2**20
_DEEPEST = 16
_TOKEN = re.compile(
    r"""
    (?P<skip>[^\S\n]+|\#[^\n]*|\\\n)
    | (?P<end>\n)
    | (?P<text>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
    | (?P<number>[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    | (?P<name>[@%]?[A-Za-z_][\w./]*)
    | (?P<mark>[][(){},:=])
    """,
    re.VERBOSE,
)
_MOST_VALUES = 2**14
_ESCAPES = {"n": "\n", "t": "\t"}
_NAMED = {"True": True, "False": False, "None": None}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class GinReference(NamedTuple):
    """A function or class that a value names; it is not imported.

    Attributes:
      name: its name, without the modules.
    """

    name: str


class _Token(NamedTuple):
    kind: str
    text: str
    column: int


class GinConfig:
    """The values of a gin file. A value is only read when it is asked for.

    Args:
      text: the content of the file.

    Raises:
      ValueError: it is too long, or is no gin file.
    """

    def __init__(self, text: str):
        if len(text) > _MOST_CHARACTERS:
            raise ValueError(f"has more than {_MOST_CHARACTERS} characters")
        self._bindings: dict[tuple[str, str], list[_Token]] = {}
        block = None
        for statement in _statements(text):
            name, mark = statement[0], statement[1] if len(statement) > 1 else None
            if name.text in ("import", "include", "from"):
                continue
            if name.kind != "name" or mark is None or mark.kind != "mark":
                raise ValueError(f"has a line that is not of gin, at {printable(name.text[:99])!r}")
            if mark.text == ":" and len(statement) == 2:
                block = name.text
                continue
            if mark.text != "=":
                raise ValueError(f"has a line that is not of gin, at {printable(name.text[:99])!r}")
            if name.column == 0:
                block = None
            full = name.text if block is None else f"{block}.{name.text}"
            owner, _, parameter = full.rpartition(".")
            self._bindings[_last(owner), parameter] = statement[2:]

    def has(self, owner: str) -> bool:
        """Whether any parameter of a function or class is bound."""
        return any(name == owner for name, _ in self._bindings)

    def get(self, owner: str, parameter: str, default: Any = None) -> Any:
        """The value of a parameter, with macros replaced by their values.

        Lists are returned as lists, tuples as tuples, functions and classes as `GinReference`.

        Raises:
          ValueError: the value cannot be read.
        """
        if (tokens := self._bindings.get((owner, parameter))) is None:
            return default
        macros = {name: value for (none, name), value in self._bindings.items() if not none}
        try:
            return _Parser(macros, [0]).whole(tokens, 0)
        except (ValueError, LookupError) as error:
            reason = printable(str(error)[:200])
            raise ValueError(
                f"holds no value that can be read for {owner}.{parameter} ({reason})"
            ) from error


class _Parser:
    """Reads a value from tokens, by recursive descent of limited depth.

    Args:
      macros: the tokens of each macro.
      count: the number of values so far, shared with the parsers of macros, which could otherwise
        hold each other so often that the value is exponentially larger than the file.
    """

    def __init__(self, macros: Mapping[str, list[_Token]], count: list[int]):
        self.macros, self.count = macros, count
        self.tokens: list[_Token] = []
        self.at = 0

    def whole(self, tokens: list[_Token], depth: int) -> Any:
        """The value that all the tokens make."""
        self.tokens = tokens
        value = self.value(depth)
        if self.at < len(tokens):
            raise ValueError("more than one value")
        return value

    def value(self, depth: int) -> Any:
        """The next value."""
        self.count[0] += 1
        if depth > _DEEPEST or self.count[0] > _MOST_VALUES:
            raise ValueError(f"nested more than {_DEEPEST} deep, or of more than {_MOST_VALUES}")
        token = self.next()
        if token.kind == "text":
            texts = [token.text]
            while self.peek("text"):
                texts.append(self.next().text)
            return "".join(re.sub(r"\\(.)", _escaped, text[1:-1]) for text in texts)
        if token.kind == "number":
            return float(token.text) if re.search("[.eE]", token.text) else int(token.text)
        if token.kind == "name":
            return self.named(token.text, depth)
        if token.text == "{":
            return dict(self.pairs(depth))
        if token.text in ("(", "["):
            return self.items(token.text, depth)
        raise ValueError(f"a value cannot begin with {token.text}")

    def named(self, text: str, depth: int) -> Any:
        """A constant, a macro or a reference."""
        if text.startswith("%"):
            return _Parser(self.macros, self.count).whole(self.macros[text[1:]], depth + 1)
        if text.startswith("@"):
            if self.peek("mark", "("):
                self.next()
                self.expect(")")
            return GinReference(_last(text[1:]))
        if text not in _NAMED:
            raise ValueError(f"the name {text}")
        return _NAMED[text]

    def items(self, opening: str, depth: int) -> Any:
        """A list, a tuple, or a value in brackets."""
        items, has_comma = [], False
        while not self.peek("mark", _CLOSING[opening]):
            items.append(self.value(depth + 1))
            if self.peek("mark", _CLOSING[opening]):
                break
            self.expect(",")
            has_comma = True
        self.expect(_CLOSING[opening])
        if opening == "[":
            return items
        return tuple(items) if has_comma or not items else items[0]

    def pairs(self, depth: int) -> Iterator[tuple[Any, Any]]:
        """The keys, which must be texts or numbers, and the values of a dict."""
        while not self.peek("mark", "}"):
            if not (self.peek("text") or self.peek("number")):
                raise ValueError("a key that is neither text nor number")
            key = self.value(depth + 1)
            self.expect(":")
            yield key, self.value(depth + 1)
            if not self.peek("mark", "}"):
                self.expect(",")
        self.expect("}")

    def next(self) -> _Token:
        """The next token."""
        self.at += 1
        return self.tokens[self.at - 1]

    def peek(self, kind: str, text: str | None = None) -> bool:
        """Whether the next token is of a kind, and has a text."""
        if self.at >= len(self.tokens):
            return False
        token = self.tokens[self.at]
        return token.kind == kind and text in (None, token.text)

    def expect(self, mark: str) -> None:
        """Reads a mark."""
        if not self.peek("mark", mark):
            raise ValueError(f"it lacks {mark}")
        self.next()


def _statements(text: str) -> Iterator[list[_Token]]:
    """The tokens of each statement, which ends with its line unless a bracket is open."""
    statement: list[_Token] = []
    depth = at = line = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"has the character {text[at]!r}, which is not of gin")
        kind, at = str(match.lastgroup), match.end()
        if kind == "end":
            line = at
            if statement and depth == 0:
                yield statement
                statement = []
        elif kind != "skip":
            depth += (match[0] in _CLOSING) - (match[0] in _CLOSING.values())
            statement.append(_Token(kind, match[0], match.start() - line))
    if statement:
        yield statement


def _escaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[1])


def _last(name: str) -> str:
    """A name without scopes and modules."""
    return re.split(r"[./]", name)[-1]
