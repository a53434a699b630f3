"""Celery's settings; above each stands what breaks without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu import Queue

from worker.pump import ROLES

if TYPE_CHECKING:
    from worker.config import Settings


def celery_settings(settings: Settings, *, broker_url: str) -> dict[str, Any]:
    """Return Celery's settings for a broker, given as kombu's URL."""
    queues = [Queue(role.queue) for role in ROLES.values()]
    return {
        "broker_url": broker_url,
        # 100 tries and then the worker exits: a Redis that is away for the night would end the crawl.
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        # A READONLY or OOM answer of Redis would end the worker: celery#7946.
        "broker_channel_error_retry": True,
        "broker_transport_options": {
            "global_keyprefix": f"{settings.namespace}:celery:",
            # A half-open connection would hang the consumer for minutes: celery#10302.
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": broker_url.startswith(("redis://", "rediss://")),
            "health_check_interval": 10,
        },
        # The results are rows in the store; a result backend would only grow.
        "result_backend": None,
        "task_ignore_result": True,
        # Pickle in a shared Redis is remote code execution.
        "task_serializer": "json",
        "accept_content": ["json"],
        "event_serializer": "json",
        "task_queues": [Queue("celery"), *queues],
        "task_default_queue": "celery",  # where producers that speak Celery send ingest_page
        "task_routes": {role.task: {"queue": role.queue} for role in ROLES.values()},
        # Prefetched messages would wait behind a pull of 20 seconds while another worker idles.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        # A page that hangs in native code cannot be interrupted, only its process ended; shorter than the lease, so
        # that nobody else works on its entries yet.
        "task_time_limit": settings.lease_seconds - 10,
        # Native parsers leak; the process is replaced between two tasks, long before it meets its limit.
        "worker_max_memory_per_child": min(600_000, settings.process_memory // 2048),
        # A page ended its process: the next task would wait 10 seconds for the last one, which cannot come back.
        "worker_lost_wait": 0.1,
        # SIGTERM waits for the pull in hand, which ends with its batch; what is left after this is given back.
        "worker_soft_shutdown_timeout": 20,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Else Celery replaces our log handlers, and the lines are no JSON any more.
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # Flower is blind without them.
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "worker_pool": "worker.pool:Pool",  # prefork, see there
        "worker_concurrency": settings.concurrency + 2,
    }
