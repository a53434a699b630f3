"""What robots.txt allows, by RFC 9309.

Matching is protego's: groups of one agent are merged, the longest rule wins, ``*`` and ``$`` are what they are. It is
given a file in which nothing is left that it reads in another way than the RFC does: other lines than those of the
RFC, names other than ours, and paths in more than one spelling.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final, TypeGuard

from protego import Protego

from tasks.errors import PenstockError
from tasks.fetch_ports import Fetched, NotModified, Redirect, RobotsRow
from tasks.steps.canonical import normal_url

MOST_BYTES: Final = 500 * 1024  # what is parsed at least, by section 2.5; more is not looked at
MOST_DELAY: Final = 60.0  # seconds; a file cannot make a crawl last for years

_SECOND: Final = 1_000_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_LONGEST_UNREACHABLE: Final = 30 * _DAY  # section 2.3.1.4

# The names that a line may begin with. Common misspellings count, as in Google's parser.
_NAMES: Final = {
    "user-agent": "user-agent",
    "useragent": "user-agent",
    "user agent": "user-agent",
    "allow": "allow",
    "disallow": "disallow",
    "dissallow": "disallow",
    "dissalow": "disallow",
    "disalow": "disallow",
    "diasllow": "disallow",
    "disallaw": "disallow",
    "crawl-delay": "crawl-delay",
    "crawl delay": "crawl-delay",
    "request-rate": "request-rate",
    "request rate": "request-rate",
    "sitemap": "sitemap",
    "sitemaps": "sitemap",
    "site-map": "sitemap",
}
_RECORD: Final = re.compile(rf"({'|'.join(_NAMES)})(?:[ \t]*:|[ \t])(.*)", re.IGNORECASE | re.DOTALL)
_NEWLINE: Final = re.compile(r"\r\n|\r|\n")  # str.splitlines would also break a path at U+2028
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+")  # figures are none of the RFC's, but of some crawlers' names
_COMPATIBLE: Final = re.compile(r"\(compatible;\s*([A-Za-z0-9_-]+)")
_PATH: Final = re.compile(r"[^:/?#]+://[^/?#]*([^#]*)")
_UNTEXT: Final = re.compile("[\0\udc80-\udcff]")  # what neither UTF-8 nor a database takes
_OCTET: Final = re.compile(r"%([0-9A-Fa-f]{2})|([^A-Za-z0-9._~/-])")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SLASH: Final = re.compile("%2f", re.IGNORECASE)
_SWAP: Final = str.maketrans(".~", "~.")

_US: Final = "us"  # the names that protego is given
_OTHERS: Final = "others"
_SCHEME: Final = "x://x"  # else it takes a path that begins with "//" for a host


@dataclass(frozen=True, slots=True)
class Rules:
    """What one file says to us."""

    crawl_delay: float  # seconds between two requests, at most ``MOST_DELAY``; 0: nothing is said
    sitemaps: tuple[str, ...]
    _matcher: Protego = field(repr=False)

    def allowed(self, url: str) -> bool:
        """Tell whether an absolute URL may be fetched. /robots.txt itself always may."""
        found = _PATH.match(url)
        path = (found[1] if found else url) or "/"
        spelled = [_octets(one) for one in _spellings(path if path.startswith("/") else f"/{path}")]
        return spelled == [_ITSELF] or all(self._matcher.can_fetch(_SCHEME + one, _US) for one in spelled)


def product_token(user_agent: str) -> str:
    """Return the name by which robots.txt knows a crawler with this User-Agent, in lower case; it may be empty.

    The name that the field begins with, or the one after "(compatible;" where it claims to be a browser.
    """
    found = _COMPATIBLE.search(user_agent)
    if found:
        return found[1].lower()
    begins = _TOKEN.match(user_agent)
    return begins[0].lower() if begins else ""


def robots_text(body: bytes) -> str:
    """Return a file's text: UTF-8, with or without a byte order mark, cut to the limit at the end of a line.

    Bytes that are not UTF-8 become percent-encoded, as the URLs of a site in another encoding have them (section
    2.2.2: "implementors may bridge encoding mismatches").
    """
    if len(body) > MOST_BYTES:
        cut = body[: MOST_BYTES + 1]
        body = cut[: max(cut.rfind(b"\n"), cut.rfind(b"\r")) + 1]  # half a rule would say something else
    text = body.decode("utf-8-sig", "surrogateescape")
    return _UNTEXT.sub(lambda found: f"%{ord(found[0]) & 0xFF:02X}", text)


def read_rules(text: str, token: str) -> Rules:
    """Read what a file says to the crawler with this product token."""
    rules, paces, sitemaps = [], [], []
    paced = False
    for line in _NEWLINE.split(text):
        found = _RECORD.match(line.partition("#")[0].lstrip())
        if not found:
            continue
        name, value = _NAMES[found[1].lower()], found[2].lstrip().rstrip(" \t")
        match name:
            case "user-agent":
                rules.append(f"user-agent: {_agent(value, token)}")
                paces.append(rules[-1])
            case "allow" | "disallow":
                rules += (f"{name}: {_pattern(one)}" for one in _spellings(value))
                paces.append("allow:")
            case "sitemap":
                sitemaps.append(value)
            case _:
                paces.append(f"{name}: {value}")
                paced = True
    delay = _delay(Protego.parse("\n".join(paces))) if paced else 0.0
    found_sitemaps = [one for one in map(normal_url, sitemaps) if one]
    return Rules(delay, tuple(dict.fromkeys(found_sitemaps)), Protego.parse("\n".join(rules)))


def rules_of(row: RobotsRow, token: str) -> Rules:
    """Return what a row says; nothing is allowed where the file cannot be had."""
    if row.state == "unavailable":
        return NOTHING_ALLOWED
    return read_rules(row.body or "", token)


def row_of(
    origin: str, answer: Fetched | NotModified | Redirect | Exception, now: int, old: RobotsRow | None = None
) -> RobotsRow:
    """Return what an answer to a request for /robots.txt means (section 2.3.1), and how long that holds (2.4).

    A redirect is to be followed five times; one that is given here is the sixth. 429 counts as 5xx: who is asked too
    often has said nothing about what may be fetched, and is not to be asked for more.
    """
    known = functools.partial(RobotsRow, origin, fetched_at=now)
    if isinstance(answer, Fetched):
        body, expires_at = robots_text(answer.body), now + _lifetime(answer.max_age)
        return known(state="found", body=body, status=answer.status, expires_at=expires_at)
    if isinstance(answer, NotModified) and old is not None and old.state == "found":
        return replace(old, fetched_at=now, expires_at=now + _DAY)
    if isinstance(answer, Redirect):
        return known(state="none", body=None, status=answer.status, expires_at=now + _DAY)
    details = answer.details if isinstance(answer, PenstockError) else {}
    status, asked = details.get("status"), details.get("retry_after")
    if _says_that_there_is_none(status):
        return known(state="none", body=None, status=status, expires_at=now + _DAY)
    expires_at = now + (_wait(old) if asked is None else min(max(round(asked * _SECOND), _SECOND), _DAY))
    if _may_still_be_used(old, now):
        return replace(old, status=status, expires_at=expires_at)
    return known(state="unavailable", body=None, status=status, expires_at=expires_at)


def _wait(old: RobotsRow | None) -> int:
    """Return how long a file that cannot be had is not asked for: from a minute to an hour, longer each time."""
    if old is None or old.state == "none":
        return _MINUTE
    if old.state == "found":
        return _HOUR
    return min(max(2 * (old.expires_at - old.fetched_at), _MINUTE), _HOUR)


def _may_still_be_used(old: RobotsRow | None, now: int) -> TypeGuard[RobotsRow]:
    """Tell whether we may go by the file as it was seen last (sections 2.3.1.4 and 2.4)."""
    return old is not None and old.state == "found" and now - old.fetched_at < _LONGEST_UNREACHABLE


def _says_that_there_is_none(status: int | None) -> bool:
    if status is None or status == HTTPStatus.TOO_MANY_REQUESTS:
        return False
    empty = status in {HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT}
    return empty or HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR


def _lifetime(max_age: int | None) -> int:
    return _DAY if max_age is None else min(max(max_age * _SECOND, 5 * _MINUTE), _DAY)


def _agent(value: str, token: str) -> str:
    """Return the name by which protego tells the groups apart; by their own, ``news`` would be a ``newsbot``'s too."""
    if value.split(maxsplit=1)[:1] == ["*"]:
        return "*"
    named = _TOKEN.match(value)
    return _US if named and named[0].lower() == token else _OTHERS


def _pattern(value: str) -> str:
    """Return a rule's path as ``_octets`` writes it; empty, which is a rule that says nothing, where it is none."""
    if not value.startswith(("/", "*")):
        return ""
    end = "$" if value.endswith("$") else ""
    return "*".join(map(_octets, value.removesuffix("$").split("*"))) + end


def _octets(path: str) -> str:
    """Return a path in the spelling of which each octet can be compared (section 2.2.2).

    What is unreserved stands for itself; all else, but the slash, is encoded, with ``=`` for ``%``. Of that, protego
    changes nothing: it would take all octets that are not UTF-8 for the same one, and a "$" for the end and itself.
    """
    encoded = _OCTET.sub(_octet, path)
    return encoded.translate(_SWAP)  # it reads "/index.html" as "/" too; "/index~html" has nobody


def _octet(found: re.Match[str]) -> str:
    if found[1] is None:
        return "".join(f"={octet:02X}" for octet in found[2].encode("utf-8", "surrogatepass"))
    octet = int(found[1], 16)
    return chr(octet) if octet in _UNRESERVED else f"={octet:02X}"


def _spellings(path: str) -> tuple[str, ...]:
    """Return a path, or a rule's, with no slash of its query encoded, and with all: there both are one, unlike before.

    Whatever is allowed or not in one spelling is so in the other, as rules have both.
    """
    place, mark, query = path.partition("?")
    plain = _SLASH.sub("/", query)
    if "/" not in plain:
        return (path,)
    return tuple(place + mark + one for one in (plain, plain.replace("/", "%2F")))


def _delay(paces: Protego) -> float:
    """Return the seconds between two requests that Crawl-delay or Request-rate ask for."""
    rate = paces.request_rate(_US)
    asked = max(paces.crawl_delay(_US) or 0.0, rate.seconds / rate.requests if rate else 0.0)
    return min(asked, MOST_DELAY)


_ITSELF: Final = _octets("/robots.txt")
NOTHING_ALLOWED: Final = read_rules("user-agent: *\ndisallow: /", "")
