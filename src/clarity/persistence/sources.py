"""Where records in charts came from: the blind index of the resource of another system that each was imported from."""

from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from clarity.persistence.identifiers import identifier_rules
from clarity.persistence.tables import Base, IdentifierColumns


class ChartSourceRow(IdentifierColumns, Base):
    """That a record in a patient's chart came from a resource of another system, which may do so only once.

    There is no foreign key to the record: its table depends on its kind.
    """

    __tablename__ = "chart_sources"
    __table_args__ = (*identifier_rules("chart_sources"),)

    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    record_id: Mapped[UUID] = mapped_column(index=True)
