"""The tables, and how the domain's values lie in their columns."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

from domain.model.agents import AgentLimits
from domain.model.conversations import Message
from domain.model.decisions import Question
from domain.model.retries import RetryPolicy
from domain.model.schedules import ScheduledWork
from domain.model.servers import ServerSpec
from domain.model.tasks import Payload, TaskError, TaskProgress

Processor = Callable[[Any], Any]


class Utc(TypeDecorator[datetime]):
    """An instant; SQLite keeps no zone, so what is stored is always UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor | None:
        # In place of process_result_value, which costs a call for each value more.
        parse: Processor | None = self.impl_instance.result_processor(dialect, coltype)
        if parse is None:
            return None  # the driver gives instants, and they have their zone

        def instant(value: Any) -> datetime | None:
            return None if value is None else parse(value).replace(tzinfo=UTC)

        return instant


class Json(TypeDecorator[Any]):
    """A value as JSON text, read straight into the type `of`; None is NULL."""

    impl = Text
    cache_ok = True

    def __init__(self, of: Any = Any) -> None:
        super().__init__()
        self.of = of
        self._decode = msgspec.json.Decoder(of).decode

    def process_bind_param(self, value: Any, _dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def result_processor(self, _dialect: Dialect, _coltype: object) -> Processor:
        decode = self._decode
        return lambda value: None if value is None else decode(value)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

agents = Table(
    "agents",
    metadata,
    Column("agent_id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("instructions", Text, nullable=False),
    Column("model", String),
    Column("tools", Json(tuple[str, ...]), nullable=False),
    Column("capabilities", Json(tuple[str, ...]), nullable=False),
    Column("limits", Json(AgentLimits), nullable=False),
    Column("owner", String, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
)

servers = Table(
    "servers",
    metadata,
    Column("name", String, primary_key=True),
    Column("spec", Json(ServerSpec), nullable=False),
    Column("created_at", Utc, nullable=False),
)

tool_lists = Table(
    "tool_lists",
    metadata,
    Column("digest", String, primary_key=True),
    Column("tools", Json(tuple[Mapping[str, Any], ...]), nullable=False),
    Column("revision", Integer, nullable=False, server_default="0"),
)

conversations = Table(
    "conversations",
    metadata,
    Column("conversation_id", String, primary_key=True),
    Column("agent_id", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("last_seq", Integer, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
    Index(None, "created_at", "conversation_id"),
)

messages = Table(
    "messages",
    metadata,
    Column("message_id", String, primary_key=True),
    Column(
        "conversation_id",
        String,
        ForeignKey("conversations.conversation_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("seq", Integer, nullable=False),
    Column("task_id", String),
    Column("message", Json(Message), nullable=False),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("conversation_id", "seq"),
)

UNFINISHED = text("status IN ('queued', 'running', 'waiting')")
# SQLite uses a partial index only where the query repeats its condition word by word.
IN_LINE = text("status = 'queued' AND turn IS NOT NULL")
IN_LINE_OF = text("status = 'queued' AND turn >= 0")
# The same tasks in other words: so that no index but the line's own can serve a claim. PostgreSQL
# knows a queue by statistics that are always old, and would sort all of it for each claim.
DELAYED = text("status = 'queued' AND turn IS NULL")
RUNNING = text("status = 'running'")
DATED = text("status IN ('queued', 'running', 'waiting') AND deadline_at IS NOT NULL")
ENDED = text("finished_at IS NOT NULL")
TALKING = text("status IN ('queued', 'running', 'waiting') AND conversation_id IS NOT NULL")
FIRED = text("schedule_id IS NOT NULL")
UNDECIDED = text("decision IS NULL")

tasks = Table(
    "tasks",
    metadata,
    Column("task_id", String, primary_key=True),
    Column("task_type", String, nullable=False),
    Column("status", String, nullable=False),
    Column("payload", Json(Payload), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("owner", String, nullable=False),
    Column("lane", String, nullable=False),
    Column("turn", BigInteger),
    Column("conversation_id", String),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("retry", Json(RetryPolicy), nullable=False),
    Column("on_indeterminate", String, nullable=False),
    Column("run_at", Utc, nullable=False),
    Column("deadline_at", Utc),
    Column("created_at", Utc, nullable=False),
    Column("started_at", Utc),
    Column("finished_at", Utc),
    Column("cancel_requested_at", Utc),
    Column("worker", String),
    Column("lease_until", Utc),
    Column("progress", Json(TaskProgress)),
    Column("result", Json()),
    Column("error", Json(TaskError)),
    Column("last_seq", Integer, nullable=False),
    Column("schedule_id", String),
    Column("scheduled_for", Utc),
)
# The conditions of partial indexes on PostgreSQL stand in the migrations alone: naming them here
# would import its dialect.
_PLACE = (tasks.c.priority.desc(), tasks.c.turn, tasks.c.created_at, tasks.c.task_id)
Index("ix_tasks_line", *_PLACE, sqlite_where=IN_LINE)
Index(
    "ix_tasks_line_of_owner",
    tasks.c.owner,
    tasks.c.priority,
    tasks.c.turn,
    sqlite_where=IN_LINE_OF,
)
Index("ix_tasks_line_of_lane", tasks.c.lane, *_PLACE, sqlite_where=IN_LINE_OF)
Index("ix_tasks_delayed", tasks.c.run_at, tasks.c.task_id, sqlite_where=DELAYED)
Index("ix_tasks_running", tasks.c.lane, sqlite_where=RUNNING)
Index("ix_tasks_dated", tasks.c.deadline_at, sqlite_where=DATED)
Index("ix_tasks_ended", tasks.c.finished_at, sqlite_where=ENDED)
Index("uq_tasks_busy_conversation", tasks.c.conversation_id, unique=True, sqlite_where=TALKING)
Index("ix_tasks_created_at_task_id", tasks.c.created_at, tasks.c.task_id)
Index(
    "uq_tasks_fire",
    tasks.c.schedule_id,
    tasks.c.scheduled_for,
    unique=True,
    sqlite_where=FIRED,
)

task_events = Table(
    "task_events",
    metadata,
    Column("task_id", String, ForeignKey("tasks.task_id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("data", Json(Mapping[str, Any]), nullable=False),
    Column("at", Utc, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", String, primary_key=True),
    Column("task_id", String, ForeignKey("tasks.task_id", ondelete="CASCADE"), nullable=False),
    Column("owner", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("question", Json(Question), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("decided_at", Utc),
    Column("decision", String),
    Column("decided_by", String),
    Index(None, "created_at", "decision_id"),
)
Index("uq_decisions_open", decisions.c.task_id, unique=True, sqlite_where=UNDECIDED)
Index("ix_decisions_task_id", decisions.c.task_id)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("caller", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    Column("answer", Json()),
    Column("created_at", Utc, nullable=False),
    Index(None, "created_at"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("schedule_id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("cron", String, nullable=False),
    Column("timezone", String, nullable=False),
    Column("work", Json(ScheduledWork), nullable=False),
    Column("owner", String, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("next_at", Utc),
    Column("last_at", Utc),
    Column("last_task_id", String),
    Column("last_error", String),
    Column("created_at", Utc, nullable=False),
    Column("version", Integer, nullable=False),
    Index(None, "next_at"),
    Index(None, "created_at", "schedule_id"),
)

workers = Table(
    "workers",
    metadata,
    Column("worker_id", String, primary_key=True),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String, nullable=False),
    Column("concurrency", Integer, nullable=False),
    Column("started_at", Utc, nullable=False),
    Column("seen_at", Utc, nullable=False),
)
