"""Which days of the trail were looked through for unusual access."""

from datetime import date, datetime

from sqlalchemy import Date
from sqlalchemy.orm import Mapped, mapped_column

from clarity.persistence.tables import Base


class AccessReportRow(Base):
    """That the report of a day in the practice was made, once, however many servers there are."""

    __tablename__ = "access_reports"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    findings: Mapped[int]
    created_at: Mapped[datetime]
