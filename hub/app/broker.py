"""The broker as Celery sees it, and which queue carries which task: one queue a bulkhead class, so that slow pulls
never hold up orders."""

from __future__ import annotations

from celery import Celery

from hub.kernel import tasks

QUEUES = ("flow", "sync", "match")


_ELSEWHERE = {  # as hub.app.wiring declares them; whoever only wakes a task must not import all that it wires
    tasks.SYNC: "sync", "poll_messages": "sync", "reconcile": "sync", "follow_parcels": "sync", tasks.MATCH: "match",
}  # fmt: skip


def queue_of(task: str) -> str:
    """The queue of a task by name."""
    return _ELSEWHERE.get(task, "flow")


def make_celery(redis_url: str) -> Celery:
    """A Celery application on this broker, for sending or for working."""
    app = Celery("supplyhub", broker=redis_url)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,  # the queue of record is in the database; redelivery would only repeat a look
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_timeout": 10, "socket_connect_timeout": 3, "retry_on_timeout": True},
        task_routes=lambda name, *_args, **_kw: {"queue": queue_of(name)},
    )
    return app
