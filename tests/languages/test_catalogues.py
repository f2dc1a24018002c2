"""The catalogues have all that pages say, and the check tells what they lack."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

pytest.importorskip("babel", reason="Babel is not installed")
import catalogues
from catalogues import LANGUAGES, PLACE, SENTENCE, Message, bare_texts, said_in, wrong_with
from labwaiter.languages import CERTAIN, NAMES, SOURCE, SURE, WITHIN, language
from labwaiter.settings import load

SAID = catalogues.messages()
SENTENCES = sorted(str(message.id) for message in SAID if message.context == SENTENCE)


def test_nothing_that_is_said_is_missing_in_any_language() -> None:
    assert catalogues.wrong() == []


def test_the_languages_of_the_setting_are_those_that_have_a_catalogue() -> None:
    assert set(NAMES) == {SOURCE, *LANGUAGES}
    for code in NAMES:
        assert load({"PAGE_LANGUAGE": code}, Path("env")).page_language == code
    with pytest.raises(Exception, match="PAGE_LANGUAGE must be en, de, es or ru, not “fr”"):
        load({"PAGE_LANGUAGE": "fr"}, Path("env"))


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_message_that_a_catalogue_lacks_is_told_with_where_it_is_said(code: str) -> None:
    new = Message("The kettle of %(name)s is cold.", None, {"web/kettle.html.j2"})
    assert wrong_with(code, catalogues.read(code), [*SAID, new]) == [
        f"{code}.po misses “The kettle of %(name)s is cold.” of web/kettle.html.j2."
    ]


@pytest.mark.parametrize(
    ("string", "why"),
    [
        ("Der Kessel ist kalt.", "has other places than"),
        ("Der Kessel von %(nam)s ist kalt.", "has other places than"),
        ("Der Kessel von %(name)s ist zu 50 % kalt.", "has a lone %"),
        ("Der <b>Kessel von %(name)s ist kalt.", "has other marks than"),
        ("Der Kessel von %(name)s ist kalt", "does not end as"),
        (" Der Kessel von %(name)s ist kalt.", "begins or ends with white space"),
    ],
)
def test_a_translation_that_would_break_a_page_is_told(string: str, why: str) -> None:
    kettle = Message("The kettle of %(name)s is cold.", None, {"web/kettle.html.j2"})
    catalogue = catalogues.renewed(catalogues.read("de"), [kettle])
    catalogue["The kettle of %(name)s is cold."].string = string
    (line,) = wrong_with("de", catalogue, [kettle])
    assert why in line and string in line


def test_what_is_unsure_and_what_nothing_says_any_more_is_told() -> None:
    kettle = Message("The kettle is cold.", None, {"web/kettle.html.j2"})
    catalogue = catalogues.renewed(catalogues.read("de"), [kettle])
    catalogue["The kettle is cold."].string = "Der Kessel ist kalt."
    assert wrong_with("de", catalogue, [kettle]) == []
    assert wrong_with("de", catalogue, []) == ["de.po has “The kettle is cold.”, which nothing says any more."]
    catalogue["The kettle is cold."].flags.add("fuzzy")
    (line,) = wrong_with("de", catalogue, [kettle])
    assert "is not sure of" in line


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("<p>Hello</p>", "Hello"),
        ('<a title="Go on" href="{{ at }}">{{ _("on") }}</a>', 'title="Go on"'),
        ("<p>{{ name }} of {{ other }}</p>", "0 of 0"),
        ('<p>{{ "in the middle" if here else _("outside") }}</p>', "in the middle"),
        (
            '<p class="bad">{{ _("It is cold.") }} <b>{{ name }}</b> · labwaiter 3</p><style>p { color: red }</style>',
            "",
        ),
    ],
)
def test_a_text_of_a_template_that_is_not_marked_is_told(template: str, found: str) -> None:
    assert bare_texts("x.j2", template) == ([f"x.j2 says “{found}” without _()."] if found else [])


def test_sentences_are_read_from_where_they_are_raised() -> None:
    source = """
raise InvalidParameter(f"{plain(name, 60)} is {'cold' if cold else 'hot'} today: {', '.join(names) or 'none'}.")
words = N_("stopped" + (f" by {who}" if who else ""))
raise Unavailable(BROKEN.format(name, size(free)))
raise ValueError("This is no sentence for people.")
raise Misconfigured("This is for who runs it.")
"""
    constants: dict[str, ast.expr] = {"BROKEN": ast.Constant("The kettle {} has only {} of water.")}
    assert {text for text, context in said_in(source, constants) if context == SENTENCE} == {
        "%(name)s is cold today: %(names)s.",
        "%(name)s is cold today: none.",
        "%(name)s is hot today: %(names)s.",
        "%(name)s is hot today: none.",
        "The kettle %(name)s has only %(size)s of water.",
        "stopped",
        "stopped by %(who)s",
    }


@pytest.mark.parametrize("code", LANGUAGES)
def test_each_sentence_from_below_is_known_again_with_its_values(code: str) -> None:
    spoken, catalogue = language(code), catalogues.read(code)
    for sentence in SENTENCES:
        places = PLACE.findall(sentence)
        values = {name: f"Q{number}W" for number, name in enumerate(places)}
        alone = sum(map(str.isalpha, PLACE.sub("", sentence)))
        if alone < SURE:  # then what stands in it has to be known
            values |= {name: "free" for name in places if name.rstrip("0123456789_") in WITHIN}
        values |= {name: "a number" for name in places if name in CERTAIN}
        said = sentence % values
        told = spoken.told(said)
        expected = catalogue.get(sentence, SENTENCE).string
        within = {name: spoken.told(value) or value for name, value in values.items()}
        assert told == expected % within, said
