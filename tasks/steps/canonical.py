"""One form of each URL, and the key that names a page within its source."""

from __future__ import annotations

import hashlib
from typing import Final

import can_ada

from tasks.steps.page import ParsedPage, Payload

# Exact names (lower case), and one prefix. Never by substring: `source`, `uid` or `keyword` tell pages apart.
_TRACKERS: Final = frozenset(
    {
        "_ga", "_gl", "_hsenc", "_hsmi", "dclid", "epik", "fb_action_ids", "fb_action_types", "fb_source", "fbclid",
        "gbraid", "gclid", "gclsrc", "igshid", "mc_cid", "mc_eid", "mkt_tok", "msclkid", "oly_anon_id", "oly_enc_id",
        "s_cid", "ttclid", "twclid", "vero_conv", "vero_id", "wbraid", "wickedid", "xtor", "yclid",
    }
)  # fmt: skip
_TRACKER_PREFIX: Final = "utm_"
MAX_KEY: Final = 1000  # bytes; an index entry of PostgreSQL holds at most 2,704


def canonical_url(url: str) -> str | None:
    """Return the one form of an http(s) URL, by WHATWG; None when it is no URL or of another scheme.

    Drops fragment, default port, dot segments and tracker parameters. The case of path and query and the order of
    parameters are kept: they may tell pages apart.
    """
    parsed = _parse(url)
    if parsed is None:
        return None
    parsed.hash = ""
    query = parsed.search
    if query:
        kept = [part for part in query[1:].split("&") if not _is_tracker(part)]
        parsed.search = "&".join(kept)
    else:
        parsed.search = ""  # a lone "?"
    return str(parsed.href)


def normal_url(url: str) -> str | None:
    """Return an http(s) URL as WHATWG writes it, without its fragment and with all its parameters; None for others."""
    parsed = _parse(url)
    if parsed is None:
        return None
    parsed.hash = ""
    return str(parsed.href)


def host_of(url: str) -> str | None:
    """Return the host of an http(s) URL in lower case, with its port where that is not the default; else None."""
    parsed = _parse(url)
    return None if parsed is None else str(parsed.host)


def page_identity(payload: Payload, page: ParsedPage, content: str) -> str:
    """Return the page's key within its source: the item ID, else the canonical URL, else its content's hash."""
    key = _envelope_key(payload)
    if key is None and page.canonical_url:
        key = canonical_url(page.canonical_url)
    return bounded_key(key or content)


def failed_identity(payload: Payload, payload_hash: str) -> str:
    """Return the key of a payload that could not be parsed: item ID, canonical URL, else ``raw:<payload hash>``."""
    return bounded_key(_envelope_key(payload) or f"raw:{payload_hash}")


def bounded_key(key: str) -> str:
    """Return the key, or its start and a hash of it when it is longer than an index can hold."""
    if len(key) <= MAX_KEY and key.isascii():
        return key
    raw = key.encode()
    if len(raw) <= MAX_KEY:
        return key
    start = raw[: MAX_KEY // 2].decode(errors="ignore")
    return f"{start}#sha256:{hashlib.sha256(raw).hexdigest()}"


def _envelope_key(payload: Payload) -> str | None:
    return payload.item or (canonical_url(payload.url) if payload.url else None)


def _parse(url: str) -> can_ada.URL | None:
    try:
        parsed = can_ada.parse(url)
    except (ValueError, TypeError):  # TypeError: lone surrogates, as undecodable arguments of a command have
        return None
    return parsed if parsed.protocol in ("http:", "https:") else None


def _is_tracker(parameter: str) -> bool:
    name = parameter.partition("=")[0].lower()
    return name in _TRACKERS or name.startswith(_TRACKER_PREFIX)
