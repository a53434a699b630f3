"""The names of people in bylines, shown and stated: "By Ida Holm and Per Lund, Oslo" names two.

A name is taken apart from what stands around it, and several from each other, where that is certain. Of what is not, a
stated name stays as it is, and a shown one is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tasks.steps.parse.labels import without_by

_NO_NAME: Final = re.compile(r"://|@|^www\.|^\[object", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"\s*[<(\[][^<>()\[\]\s]+@[^<>()\[\]\s]+[>)\]]")
_LISTED: Final = re.compile(r"[,;/،؛、，；]")
_BETWEEN: Final = "and|und|et|y|e|и|та|й|ve|en|i|oraz|och|og|dan|و|और"
_AND: Final = re.compile(
    rf"\s+(?:{_BETWEEN})\s+|\s*[&＆]\s*|(?<=[\u3040-\u9fff])[と和](?=[\u3040-\u9fff])", re.IGNORECASE
)
_LIKE_A_LABEL: Final = re.compile(r"(?:von|di|af|av)\s", re.IGNORECASE)  # how names begin, too
_LEADING_AND: Final = re.compile(rf"^(?:{_BETWEEN})\s+", re.IGNORECASE)
_REST: Final = re.compile(r"\s*[(\[（].*|\s+[|·•–—-]\s.*", re.DOTALL)
_WHERE: Final = re.compile(r"\s+(?:in|at|à|aus|for|für|pour|on)\s.*", re.DOTALL)
_EDGES: Final = " \t,.;:|·•–—-،"
# What software puts in where nobody is named.
_NOBODY: Final = frozenset(
    {
        "admin", "administrator", "webmaster", "super user", "superuser", "root", "user", "guest", "anonymous",
        "unknown", "none", "null", "undefined", "n/a", "author", "autor", "auteur", "автор", "default", "test",
    }
)  # fmt: skip
# Words of offices and organisations: whole ones, and how others begin. No name of a person has one.
_OFFICE: Final = re.compile(
    r"(?:about|contact|content|email|exclusive|follow|foto|guest|illustration|image|meet|more|paid|partner|photos?|posts?"
    r"|read|release|share|special|sponsored|sobre|video|view|über|agence|agency|agentur|bureau|chef|chief|council|department|desk|direct|digital|haber|media|ministry|muhabiri?"
    r"|network|news|newsroom|office|online|press|presse|senior|service|servizio|staff|team|корр|пресс|служба"
    r"|ال?مراسلو?ن?|محررو?ن?|ال?تحرير|صحفي|صحافي|كاتب|وكالة|فريق|خبرگزاری|خبرنگاران?|دبیر|سرویس|گروه|روزنامه)$"
    r"|agenc|agênc|agenz|analyst|collaborat|columnist|contribut|corr[ei]spond|corresponsal|editor|envoyé|enviad"
    r"|fotograf|giornalist|institut|inviat|journalis|jornalis|korrespond|magazin|periodist|photograph|producer|redac"
    r"|redaç|redakt|redat|redaz|reporter|repórter|rédac|stagiaire|universi|writer|агентств|журналист|обозревател|редак"
    r"|кореспонд|журналіст|корреспонд",
    re.IGNORECASE,
)
# Agencies that are named beside people.
_AGENCY: Final = re.compile(
    r"(?:afp|ansa|ap|apa|bloomberg|dpa|efe|epd|kna|lusa|reuters|sda|sid|tass|тасс|xinhua)$", re.IGNORECASE
)
_ELSEWHERE: Final = re.compile(
    r"(?:new|san|santa|los|las|saint|st\.?|hong|tel|cape|north|south|east|west|port|rio|buenos|kuala|abu|sao|são|sri|nueva"
    r"|nuevo|northern|southern|eastern|western|united|royal|national|the|le|la|les)\s"
    r"|.*\s(?:business|chronicle|daily|gazette|globe|guardian|herald|insider|journal|mirror|news|observer|post|radio"
    r"|sports?|television|times|today|tribune|tv|weekly|world)$",
    re.IGNORECASE,
)  # how places of two words begin, and papers end
_ACRONYM: Final = re.compile(r"[A-Z]{3,}$")
_PARTICLES: Final = frozenset(
    {
        "af", "al", "av", "bin", "bint", "da", "das", "de", "del", "della", "dem", "den", "der", "di", "do", "dos",
        "du", "e", "el", "ibn", "la", "le", "ten", "ter", "van", "von", "y", "zu", "zur",
    }
)  # fmt: skip
_LETTERS: Final = re.compile(r"[^\W\d_][\w'’.‘-]*")
_LONGEST: Final = 60  # characters
_LONGEST_LIST: Final = 1_000  # characters of several
_WORDS: Final = range(2, 7)
_WORDS_WITHOUT_CASE: Final = range(2, 5)
_CJK: Final = re.compile(
    r"[\u3400-\u9fff々]{2,4}|[\u3040-\u9fff々]{1,4} [\u3040-\u9fff々]{1,4}"
    r"|[\u30a0-\u30ff]{2,8}[・＝ ][\u30a0-\u30ff]{2,8}|[\uac00-\ud7af]{2,5}"
)
_WIDE: Final = re.compile(r"[\u3040-\u9fff\uac00-\ud7af]")
_OFFICES_CJK: Final = re.compile(
    "編集|编辑|編輯|新聞|新闻|通信|通讯|報社|报社|記者|记者|取材|日報|日报|기자|뉴스|신문|편집"
)
_REPORTER: Final = re.compile(r"\s*(?:기자|특파원|記者|记者)$")
_GLUED: Final = re.compile(r"\S+\s+\S+\s+و\S+\s+\S")  # an Arabic "and" is written together with the name after it


def names_of(values: Iterable[str | None]) -> Iterator[str]:
    """Yield the names that a page states, once each, without "By" and offices; addresses and "admin" are no names."""
    seen: set[str] = set()
    for value in values:
        for name in _stated(" ".join(value.split()) if value and len(value) <= _LONGEST_LIST else ""):
            if name not in seen:
                seen.add(name)
                yield name


def byline(text: str, *, labelled: bool = False) -> tuple[str, ...]:
    """Return the people whom a line of a page names as its authors; none unless they are full names.

    ``labelled``: only of a line that begins with a word such as "By".
    """
    rest = without_by(text)
    whole = None if labelled or (rest is not None and not _LIKE_A_LABEL.match(text)) else text
    for one in (rest, whole):
        if one and (people := _people(_REST.sub("", one))):
            return tuple(dict.fromkeys(people))
    return ()


def _stated(text: str) -> Iterable[str]:
    text = _ADDRESS.sub("", text)
    rest = (without_by(text) or text).strip()
    if _NO_NAME.search(text) or rest.casefold() in _NOBODY or all(map(_OFFICE.match, rest.split())):
        return ()
    for one in (rest, text):
        if people := _people(_REST.sub("", one)):
            return people
    return () if _LISTED.search(rest) or _GLUED.match(rest) else (rest,)


def _people(text: str) -> list[str]:
    """Return the full names of a list that begins with one, without places and offices after them."""
    found: list[str] = []
    for number, part in enumerate(_LISTED.split(text)):
        names = _names(_LEADING_AND.sub("", part.strip(_EDGES)) if number else part)
        if not names and not number:
            return []
        found += [one for one in names if not number or not _ELSEWHERE.match(one)]
    return found


def _names(part: str) -> list[str]:
    """Return the names between "and"s, where each is a full one: "Salt and Pepper" is not, nor "Ortega y Gasset"."""
    several = [one for one in map(_bare, _AND.split(part)) if not (_OFFICE.match(one) or _AGENCY.match(one))]
    if all(map(is_person, several)):
        return several
    whole = _bare(part)
    return [whole] if is_person(whole) else []


def _bare(text: str) -> str:
    return _REPORTER.sub("", _WHERE.sub("", text.strip(_EDGES)).strip(_EDGES))


def is_person(name: str) -> bool:
    """Tell whether this is what the full name of a person looks like in its script."""
    if len(name) > _LONGEST:
        return False
    if _WIDE.match(name):
        return _CJK.fullmatch(name) is not None and not _OFFICES_CJK.search(name)
    words = name.split()
    if any(not _LETTERS.fullmatch(one) or _OFFICE.match(one) for one in words):
        return False
    if not _has_case(name):
        return len(words) in _WORDS_WITHOUT_CASE and not _GLUED.match(name)
    capital = [one[0].isupper() for one in words]
    if _ACRONYM.match(words[0]) and not name.isupper():
        return False
    return (
        len(words) in _WORDS
        and capital.count(True) > 1
        and capital[-1]
        and all(big or one in _PARTICLES for one, big in zip(words, capital, strict=True))
    )


def _has_case(text: str) -> bool:
    return text.lower() != text.upper()
