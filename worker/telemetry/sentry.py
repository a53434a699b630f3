"""Errors at Sentry: on where a DSN is set, and then only what needs a person, without pages, secrets and variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from tasks.errors import PenstockError, Transient
from worker.telemetry.redaction import is_secret, safe_text, safe_value

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

TAGS = ("source", "item", "entry", "failure", "task", "task_id")  # the ids that also stand in the log lines
MAX_TAG = 200  # characters; Sentry drops a longer tag


def configure_sentry(*, dsn: str | None, environment: str | None = None, release: str | None = None) -> bool:
    """Turn Sentry on for this process, unless there is no DSN; return whether it is on.

    Call it after a fork: the SDK sends from a thread of its own. Raises ``ValueError`` for a DSN that is none.
    """
    if not dsn:
        return False
    import sentry_sdk
    from sentry_sdk.integrations.celery import CeleryIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.scrubber import EventScrubber

    try:
        sentry_sdk.init(
            dsn=dsn,
            environment=environment,
            release=release,
            # Our own list: those that the SDK finds by itself would send SQL, commands and URLs along.
            auto_enabling_integrations=False,
            # What is logged is no report: failures are reported once, after their last attempt.
            integrations=[CeleryIntegration(propagate_traces=False), LoggingIntegration(level=None, event_level=None)],
            include_local_variables=False,  # they hold whole pages
            max_request_body_size="never",
            # send_default_pii is left alone: it is off, which also hides the arguments of tasks (ingest_page is called
            # with a whole page), and newer versions of the SDK warn where it is set.
            event_scrubber=EventScrubber(recursive=True),
            max_breadcrumbs=0,
            before_send=_before_send,
        )
    except sentry_sdk.utils.BadDsn as error:
        raise ValueError(f"the Sentry DSN is not one: {safe_text(str(error))}") from error
    return True


def report(error_class: str, message: str, *, fingerprint: str, **ids: object) -> None:
    """Tell Sentry of a failure that is not tried again. Does nothing where Sentry is off; never blocks on the net.

    ``fingerprint`` groups the reports, as it groups the failures in the store.
    """
    import sentry_sdk

    if not sentry_sdk.is_initialized():
        return
    sentry_sdk.capture_event(
        {
            "level": "error",
            "exception": {"values": [{"type": error_class, "value": message}]},
            "fingerprint": [fingerprint],
            "tags": _tags(ids),
            "contexts": {"penstock": {name: safe_value(value) for name, value in ids.items() if not is_secret(name)}},
        }
    )


def _before_send(event: Event, hint: Hint) -> Event | None:
    """Drop what is tried again by itself; add our ids to an error of ours; take out what must not leave."""
    error = (hint.get("exc_info") or (None, None, None))[1]
    if isinstance(error, Transient):
        return None
    ids = structlog.contextvars.get_contextvars()
    if isinstance(error, PenstockError):
        ids = {**ids, **error.details}
        event.setdefault("fingerprint", [error.error_class, str(ids.get("source") or "")])
    event["tags"] = {**event.get("tags", {}), **_tags(ids)}
    for one in event.get("exception", {}).get("values", []):
        if one.get("value"):
            one["value"] = safe_text(str(one["value"]))
    return event


def _tags(ids: dict[str, Any]) -> dict[str, str]:
    return {name: safe_text(str(ids[name]))[:MAX_TAG] for name in TAGS if ids.get(name) is not None}
