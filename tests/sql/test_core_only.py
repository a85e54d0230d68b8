"""The engine comes without the ORM, and takes nothing away from those who want it whole."""

import subprocess
import sys

PROGRAM = """
import sys
import adapters.sql.engine
assert "sqlalchemy.orm" not in sys.modules
import sqlalchemy.orm
from sqlalchemy.ext.asyncio.session import AsyncSession
assert issubclass(AsyncSession, object)
"""


def test_the_orm_stays_out_and_can_still_be_imported() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=30)
