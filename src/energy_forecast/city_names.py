"""Names of cities: validation, and which spellings are the same name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

LONGEST_NAME = 100
# Characters of these categories are invisible: control, format (bidi, zero width), surrogates, private use,
# unassigned, line and paragraph separators, and spaces other than U+0020
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
# Default-ignorable letters and marks: fillers and variation selectors
_IGNORABLE = frozenset(
    [
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
        *(*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0000, 0xE1000)),
    ]
)
_FORMULA_SIGNS = "=+-@"
# A name may contain commas. In a comma-separated list, names of up to this many parts are recognised
_MOST_PARTS = 4


def name_key(name: str) -> str:
    """Return the key under which equal names compare equal. The index `city_name_key` uses the same key.

    Each letter is lowered alone to one letter, as PostgreSQL does. Python would write the last sigma of a word
    in another form, and the capital dotted I as two characters.
    """
    return "".join(letter.lower()[0] for letter in unicodedata.normalize("NFC", name))


def composed(name: str) -> str:
    """Return a name with composed accents (NFC) and without spaces around it."""
    return unicodedata.normalize("NFC", name).strip(" ")


def name_fault(name: str) -> str | None:
    """Return why a composed name is not accepted, or None if it is."""
    if len(name) > LONGEST_NAME:
        return f"has {len(name)} characters; at most {LONGEST_NAME} are allowed"
    for place, sign in enumerate(name, start=1):
        if sign != " " and (unicodedata.category(sign) in _INVISIBLE or ord(sign) in _IGNORABLE):
            called = unicodedata.name(sign, "a control character").lower()
            return f"has an invisible character at place {place}: U+{ord(sign):04X}, {called}; remove it"
    if "  " in name or name != name.strip(" "):
        return "has a doubled, leading or trailing space; write one space between words"
    # Wide forms of these signs too: spreadsheets treat them the same
    if unicodedata.normalize("NFKC", name[:1])[:1] in (*_FORMULA_SIGNS,):
        return f"begins with {name[0]!r}, which a spreadsheet would read as a formula"
    return None


def nearest_name(wanted: str, names: Sequence[str]) -> str | None:
    """Return the most similar name, or None if no name is similar."""
    names_there = {name_key(name): name for name in names}
    near = get_close_matches(name_key(wanted), names_there, n=1, cutoff=0.7)
    return names_there[near[0]] if near else None


def possible_names(wanted: Sequence[str]) -> list[str]:
    """Return every name that the texts may contain. Each text is a name or several names with commas."""
    return list(dict.fromkeys(name for text in wanted for name in (composed(text), *_names_within(text.split(",")))))


def named_in(wanted: Sequence[str], known: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Split texts into names. A text that is a name as a whole is one name; otherwise the longest names match first.

    Args:
        wanted: texts, each a name or several names with commas.
        known: names by `name_key`.

    Returns:
        The known names that were found, each once, and the texts that match no name.
    """
    found: dict[str, None] = {}
    missing: list[str] = []
    for text in wanted:
        parts = [text] if name_key(composed(text)) in known else text.split(",")
        while parts:
            for length in range(min(_MOST_PARTS, len(parts)), 0, -1):
                name = known.get(name_key(composed(",".join(parts[:length]))))
                if name is not None:
                    found[name] = None
                    break
            else:
                length = 1
                missing.append(composed(parts[0]))
            del parts[:length]
    return list(found), missing


def _names_within(parts: Sequence[str]) -> Iterator[str]:
    for place in range(len(parts)):
        for length in range(1, min(_MOST_PARTS, len(parts) - place) + 1):
            yield composed(",".join(parts[place : place + length]))
