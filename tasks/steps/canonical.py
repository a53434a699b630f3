"""One form of each URL, and the key that names a page within its source.

URLs are read as the URL standard does (https://url.spec.whatwg.org/), by the parser that Node.js uses: what comes out
is what a browser would ask for. In its output "?" and "#" stand only where query and fragment begin, and the host
between "//" and the next "/", so that the parts are taken from the text.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

import ada_url

from tasks.steps.page import ParsedPage, Payload
from tasks.steps.site import same_site
from tasks.steps.trackers import is_tracker

MAX_KEY: Final = 1000  # bytes; an index entry of PostgreSQL holds at most 2,704
_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_DIGIT: Final = re.compile(r"[0-9]")
_ROOT: Final = re.compile(r"https?://[^/]*/")


def canonical_url(url: str) -> str | None:
    """Return the one form of an http(s) URL that names a page; None when it is no URL or of another scheme.

    Beyond what ``normal_url`` does, drops tracker parameters, a lone "?", user and password (they say who asks, and a
    key is shown), and dots at the host's end, and writes percent-encoded bytes in upper case (RFC 3986, section
    6.2.2.1: many sites link in lower case what a browser writes in upper). The case of path and query and the order
    of parameters are kept: they may tell pages apart.
    """
    normal = normal_url(url)
    if normal is None:
        return None
    place, _, query = _on_plain_host(normal).partition("?")
    kept = "&".join([part for part in query.split("&") if not is_tracker(part)]) if query else ""
    whole = f"{place}?{kept}" if kept else place
    return _PERCENT.sub(lambda found: found[0].upper(), whole) if "%" in whole else whole


def normal_url(url: str, base: str | None = None) -> str | None:
    """Return an http(s) URL as WHATWG writes it, without its fragment and with all its parameters; None for others.

    A relative one is resolved against ``base``, where that is a URL.
    """
    href = _joined(url, base) if base else _href(url)
    if href is None or not href.startswith(("http://", "https://")):
        return None
    return href.partition("#")[0]


def host_of(url: str) -> str | None:
    """Return the host of an http(s) URL in lower case, with its port where that is not the default; else None."""
    normal = normal_url(url)
    return None if normal is None else authority(normal).rpartition("@")[2]


def authority(normal: str) -> str:
    """Return what stands between "//" and the next "/" of a URL that ``normal_url`` gave: the host, and a port."""
    return normal.split("/", 3)[2]


def origin_of(url: str) -> str:
    """Return scheme and authority of an http(s) URL, as ``normal_url`` writes them; empty for any other."""
    normal = normal_url(url)
    return "" if normal is None else f"{normal.partition(':')[0]}://{authority(normal).rpartition('@')[2]}"


def page_identity(payload: Payload, page: ParsedPage, content: str) -> str:
    """Return the page's key within its source: the item ID, else the canonical URL, else its content's hash.

    The URL is the one that the page declares, where it may be believed, else the one that it came from.
    """
    if payload.item:
        return bounded_key(payload.item)
    own = canonical_url(payload.url) if payload.url else None
    declared = canonical_url(page.canonical_url) if page.canonical_url else None
    if own and declared and not _believed(declared, own):
        declared = None
    return bounded_key(declared or own or content)


def failed_identity(payload: Payload, payload_hash: str) -> str:
    """Return the key of a payload that could not be parsed: item ID, canonical URL, else ``raw:<payload hash>``."""
    return envelope_identity(payload) or f"raw:{payload_hash}"


def envelope_identity(payload: Payload) -> str | None:
    """Return the key that the envelope tells, item ID or canonical URL, or None."""
    key = payload.item or (canonical_url(payload.url) if payload.url else None)
    return bounded_key(key) if key else None


def bounded_key(key: str) -> str:
    """Return the key, or its start and a hash of it when it is longer than an index can hold."""
    if len(key) <= MAX_KEY and key.isascii():
        return key
    raw = key.encode()
    if len(raw) <= MAX_KEY:
        return key
    start = raw[: MAX_KEY // 2].decode(errors="ignore")
    return f"{start}#sha256:{hashlib.sha256(raw).hexdigest()}"


def _believed(declared: str, own: str) -> bool:
    """Tell whether a page at ``own`` may say that ``declared`` names it.

    Not on another site, and not where a template's mistake would make one page of many: the home page named by all,
    or a script's address without the number that tells its pages apart. A page that is kept under its own URL for
    that does no harm: the same content is found to be a duplicate.
    """
    place, _, query = own.partition("?")
    if declared == place and _DIGIT.search(query):
        return False
    if _ROOT.fullmatch(declared) and not _ROOT.fullmatch(own):
        return False
    return same_site(authority(declared), authority(own))


def _on_plain_host(normal: str) -> str:
    """Return a normal URL without user, password and the dots that its host ends in."""
    whole = authority(normal)
    host, port, number = _split_port(whole.rpartition("@")[2])
    plain = (host.rstrip(".") or host) + port + number
    if plain == whole:
        return normal
    start = normal.index("//") + 2
    changed = normal[:start] + plain + normal[start + len(whole) :]
    return normal_url(changed) or normal  # again: without its dots it may be an IPv4 address


def _split_port(host: str) -> tuple[str, str, str]:
    name, colon, number = host.rpartition(":")
    return (name, colon, number) if number.isdigit() and name else (host, "", "")


def _joined(url: str, base: str) -> str | None:
    try:
        return ada_url.join_url(base, url)
    except ValueError:
        return _href(url)  # the base may be none


def _href(url: str) -> str | None:
    try:
        return ada_url.normalize_url(url)
    except ValueError:  # also of lone surrogates, as undecodable arguments of a command have
        return None
