"""The ORM behind FastAPI, as its tutorial has it: a session for each request by a dependency, and response models.

It decides nothing, audits nothing, seals nothing, and asks nobody to log in. `uvicorn benchmarks.peers.orm_app:app`
serves the database at `BENCHMARK_DATABASE_URL`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from uuid_utils.compat import uuid7

from benchmarks.peers import PAGE
from benchmarks.peers.orm import Identifier, Patient, engine_of

_engine = engine_of(os.environ["BENCHMARK_DATABASE_URL"])
_sessions = async_sessionmaker(_engine, expire_on_commit=False)


class IdentifierInOut(BaseModel):
    """A number somebody gave a patient."""

    model_config = ConfigDict(from_attributes=True)

    kind: str
    value: str


class PatientIn(BaseModel):
    """What is recorded about a patient."""

    family: str
    given: str
    born: date
    gender: str
    status: str
    phone: str
    email: str
    line: str
    city: str
    state: str
    postal_code: str
    notes: str
    identifiers: list[IdentifierInOut]


class PatientOut(PatientIn):
    """A patient."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    created_at: datetime
    created_by: UUID
    updated_at: datetime
    updated_by: UUID
    version: int


class PatientPage(BaseModel):
    """Some of the patients, and how many there are altogether."""

    items: list[PatientOut]
    total: int


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await _engine.dispose()


async def _session() -> AsyncIterator[AsyncSession]:
    async with _sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(_session)]
app = FastAPI(lifespan=_lifespan)


@app.get("/api/patients/{patient_id}", response_model=PatientOut)
async def view_patient(patient_id: UUID, session: Session) -> Patient:
    """Show one patient."""
    patient = await session.get(Patient, patient_id)
    if patient is None:
        raise HTTPException(404)
    return patient


@app.get("/api/patients", response_model=PatientPage)
async def list_patients(
    session: Session, after: UUID | None = None, limit: Annotated[int, Query(le=100)] = PAGE
) -> dict[str, object]:
    """List patients by id."""
    statement = select(Patient).order_by(Patient.id).limit(limit)
    if after is not None:
        statement = statement.where(Patient.id > after)
    patients = await session.scalars(statement)
    total = await session.scalar(select(func.count()).select_from(Patient))
    return {"items": patients.all(), "total": total}


@app.post("/api/patients", response_model=PatientOut, status_code=201)
async def register_patient(body: PatientIn, session: Session) -> Patient:
    """Register somebody."""
    identifiers = [Identifier(**number.model_dump()) for number in body.identifiers]
    patient = Patient(id=uuid7(), **body.model_dump(exclude={"identifiers"}), identifiers=identifiers)
    session.add(patient)
    await session.commit()
    return patient
