"""Reserved words of the languages that callers are written in, and what follows of them for a WSDL.

A toolkit makes classes, methods and parameters of the names in a WSDL. What is a reserved word of its language it
writes otherwise, or it refuses the whole WSDL. `desk.names` judges a service by these tables.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_WORDS = {
    # the Java Language Specification, section 3.9, with true, false and null
    "Java": (
        "abstract assert boolean break byte case catch char class const continue default do double else enum "
        "extends false final finally float for goto if implements import instanceof int interface long native new "
        "null package private protected public return short static strictfp super switch synchronized this throw "
        "throws transient true try void volatile while"
    ),
    # the C# language's keywords, and await, which is one inside of asynchronous methods
    "C#": (
        "abstract as await base bool break byte case catch char checked class const continue decimal default "
        "delegate do double else enum event explicit extern false finally fixed float for foreach goto if "
        "implicit in int interface internal is lock long namespace new null object operator out override params "
        "private protected public readonly ref return sbyte sealed short sizeof stackalloc static string struct "
        "switch this throw true try typeof uint ulong unchecked unsafe ushort using virtual void volatile while"
    ),
    # ISO C++, the table of keywords in [lex.key], and the alternative tokens in [lex.digraph]
    "C++": (
        "alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t char8_t "
        "class co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue "
        "decltype default delete do double dynamic_cast else enum explicit export extern false float for friend "
        "goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private "
        "protected public register reinterpret_cast requires return short signed sizeof static static_assert "
        "static_cast struct switch template this thread_local throw true try typedef typeid typename union "
        "unsigned using virtual void volatile wchar_t while xor xor_eq"
    ),
    # the PHP manual, "List of Keywords"
    "PHP": (
        "abstract and array as break callable case catch class clone const continue declare default die do echo "
        "else elseif empty enddeclare endfor endforeach endif endswitch endwhile eval exit extends final finally "
        "fn for foreach function global goto if implements include include_once instanceof insteadof interface "
        "isset list match namespace new or print private protected public readonly require require_once return "
        "static switch throw trait try unset use var while xor yield"
    ),
    # the Python language reference, "Keywords"
    "Python": (
        "False None True and as assert async await break class continue def del elif else except finally for from "
        "global if import in is lambda nonlocal not or pass raise return try while with yield"
    ),
    # ECMA-262, "Keywords and Reserved Words", in strict code
    "JavaScript": (
        "arguments await break case catch class const continue debugger default delete do else enum eval export "
        "extends false finally for function if implements import in instanceof interface let new null package "
        "private protected public return static super switch this throw true try typeof var void while with yield"
    ),
}
RESERVED: dict[str, frozenset[str]] = {language: frozenset(words.split()) for language, words in _WORDS.items()}
JAVA = RESERVED["Java"]


def alike(name: str) -> str:
    """What toolkits that write names in their language's own way make one of: case and _ don't count."""
    return re.sub(r"[^A-Za-z0-9]", "", name).lower()


def languages(name: str) -> list[str]:
    """The languages of which a name is a reserved word."""
    return [language for language, words in RESERVED.items() if name in words]


def whole_in_java(inputs: Collection[str], outputs: Collection[str]) -> bool:
    """Whether wsimport must hand on the messages of an operation whole (enableWrapperStyle false).

    It refuses parameters that are words of Java, and makes one parameter of an input and an output that are alike.
    """
    if not JAVA.isdisjoint({*inputs, *outputs}):
        return True
    return not {alike(n) for n in inputs}.isdisjoint({alike(n) for n in outputs})
