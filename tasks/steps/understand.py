"""From a payload to what the store is to be told of it, good or bad."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.errors import PenstockError, Permanent
from tasks.steps.canonical import envelope_identity, failed_identity, page_identity
from tasks.steps.fingerprint import content_hash, failure_fingerprint, top_frame
from tasks.steps.follow import discover
from tasks.steps.lists import is_list
from tasks.steps.page import FailureResult, PageResult, ParsedPage, Payload, SourceProfile
from tasks.steps.parse import PARSER_VERSIONS, parse
from tasks.steps.parse.parsers import NO_PARSER
from tasks.steps.recrawl import recrawl_of
from tasks.steps.tracebacks import traceback_of


def understand(payload: Payload, profile: SourceProfile) -> PageResult:
    """Parse a payload and work out its identity, its content hash and the items that it names.

    Raises ``Permanent`` of the parsers' kinds.
    """
    page = parse(payload, profile)
    return result_of(page, payload, profile)


def result_of(page: ParsedPage, payload: Payload, profile: SourceProfile) -> PageResult:
    """Build the result of a parsed page."""
    content = content_hash(page)
    item_key = page_identity(payload, page, content)
    list_of = payload.parent if is_list(page.parser, payload, profile) else None
    envelope_key = envelope_identity(payload) if page.canonical_url else item_key
    return PageResult(
        page=page,
        item_key=item_key,
        content_hash=content,
        envelope_key=envelope_key if envelope_key != item_key else None,
        discovered=discover(page, payload, profile),
        profile_version=profile.version,
        recrawl=recrawl_of(payload.url, profile, list_of=list_of),
    )


def with_origin(error: Permanent, cause: BaseException | None = None) -> Permanent:
    """Write down in an error where it comes from, for another process: a traceback does not go there."""
    origin = cause or error.__cause__ or error
    error.details["cause"] = type(origin).__name__
    error.details["frame"] = top_frame(origin)
    error.details["traceback"] = traceback_of(origin)
    return error


def failure_of(
    error: PenstockError, payload: Payload, payload_hash: str, *, retry_at: int | None = None
) -> FailureResult:
    """Describe an error so that it can be kept, grouped with its like, and tried again."""
    parser = error.details.get("parser")
    cause = error.__cause__ or error
    return FailureResult(
        error_class=error.error_class,
        message=error.message,
        fingerprint=failure_fingerprint(
            error.error_class, error.details.get("frame") or top_frame(cause), payload.source
        ),
        item_key=failed_identity(payload, payload_hash),
        parser=parser,
        parser_version=PARSER_VERSIONS.get(parser or NO_PARSER, 0),  # 0: a plug-in that this process does not have
        traceback=error.details.get("traceback") or traceback_of(cause),
        retry_at=retry_at,
    )


def observed_at(payload: Payload, entry_id: str) -> int:
    """Return when the page was in this state, in microseconds: when it was fetched, else when it was pushed.

    The sequence number of the entry id stands in for microseconds, so that entries of one millisecond keep their
    order.
    """
    if payload.fetched_at is not None:
        return round(payload.fetched_at.timestamp() * 1_000_000)
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds) * 1000 + min(int(sequence or 0), 999)


def envelope_ids(payload: Payload) -> Mapping[str, str]:
    """Return the ids that name a payload in logs."""
    ids = {"source": payload.source, "item": payload.item, "url": payload.url}
    return {name: value for name, value in ids.items() if value}
