"""The agents that every installation starts with."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

AGENTS = (
    (
        "general-assistant",
        "General assistant",
        (
            "You are a helpful assistant. Answer briefly and precisely. Use a tool where it gives a"
            " better answer than you can, and say so when a tool fails or you do not know."
        ),
        '["conversation","tools"]',
    ),
    (
        "code-helper",
        "Code helper",
        (
            "You help with programming. Read what you are shown before you answer, prefer the"
            " smallest change that is right, give complete code, and name what you did not check."
            " Use tools to look at files and to run checks where they are offered."
        ),
        '["code","conversation","tools"]',
    ),
    (
        "task-planner",
        "Task planner",
        (
            "You turn a goal into a plan. Ask for what is missing, then list the steps in their"
            " order, each with its result and the tool it needs. Carry out only the steps that you"
            " are asked to carry out, and report what each gave."
        ),
        '["planning","conversation","tools"]',
    ),
)

agents = sa.table(
    "agents",
    *(
        sa.column(name, sa.String())
        for name in ("agent_id", "name", "instructions", "tools", "capabilities", "limits", "owner")
    ),
    sa.column("created_at", sa.DateTime(timezone=True)),
    sa.column("updated_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    now = datetime.now(UTC)
    op.bulk_insert(
        agents,
        [
            {
                "agent_id": agent_id,
                "name": name,
                "instructions": instructions,
                "tools": '["*"]',
                "capabilities": capabilities,
                "limits": "{}",
                "owner": "local",
                "created_at": now,
                "updated_at": now,
            }
            for agent_id, name, instructions, capabilities in AGENTS
        ],
    )


def downgrade() -> None:
    op.execute(sa.delete(agents).where(agents.c.agent_id.in_([agent[0] for agent in AGENTS])))
