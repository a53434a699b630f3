"""What the operator is told: log lines, and errors at Sentry. Nothing here sends a page's bytes or a secret."""

from worker.telemetry.logs import configure_logging
from worker.telemetry.sentry import configure_sentry, report

__all__ = ["configure_logging", "configure_sentry", "report"]
