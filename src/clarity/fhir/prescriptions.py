"""Prescriptions as FHIR R4 `MedicationRequest` resources.

Lost on the way in: narrative, identifiers, categories, priority, encounters, notes, insurance, what was dispensed, how
fast something is given and how much at most, the part of the body, and the method. What a source says of a dosage
without our words for it is kept as instruction. Of several dosages, none is taken for the one: all are instruction.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date

from msgspec import Raw

from clarity.application.imports import NOBODY, IncomingRecord, LeftOut
from clarity.domain.dates import PartialDate
from clarity.domain.dosages import Dosage, Dose, DoseUnit, PeriodUnit, Route, Timing
from clarity.domain.errors import Invalid
from clarity.domain.ids import PatientId, PrescriptionId
from clarity.domain.medications import End, Hold, Prescription
from clarity.domain.people import Concept
from clarity.domain.records import Label
from clarity.domain.values import within
from clarity.fhir import resources
from clarity.fhir.charting import Chartable, digest_of, in_words_of_fhir, label_of, words_for
from clarity.fhir.datatypes import read_concept, read_date_time
from clarity.fhir.decoding import decode
from clarity.fhir.resources import MedicationRequestIntent, MedicationRequestStatus

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
_RXNORM_CODE = re.compile(r"[0-9]{1,8}", re.ASCII)
_SNOMED = "http://snomed.info/sct"

_NO_ORDERS = {MedicationRequestIntent.PROPOSAL, MedicationRequestIntent.PLAN, MedicationRequestIntent.OPTION}
_ENDED = {MedicationRequestStatus.CANCELLED, MedicationRequestStatus.COMPLETED, MedicationRequestStatus.STOPPED}
_NO_STATUSES = {MedicationRequestStatus.DRAFT: "a draft", MedicationRequestStatus.UNKNOWN: "of unknown status"}
_MISTAKE = "Entered in error, says the source."
_ELEMENTS = {
    "code": "medicationCodeableConcept.coding",
    "coded": "medicationCodeableConcept",
    "dosage": "dosageInstruction",
    "end": "statusReason",
    "holds": "statusReason",
    "indication": "reasonCode",
    "instruction": "dosageInstruction",
    "name": "medicationCodeableConcept",
    "prescribed_by": "requester.display",
    "start": "authoredOn",
    "until": "dosageInstruction.timing.repeat.boundsPeriod.end",
}


def read_prescription(resource: resources.MedicationRequest, about: Chartable) -> IncomingRecord | LeftOut:
    """Return the prescription of a `MedicationRequest`, or why there is none. Raises `Invalid` naming the element."""
    label = label_of(resource.meta)
    if reason := _unfit(resource, label):
        return about.left_out(reason)
    subject = about.subject(resource.subject)
    if subject is None:
        return about.left_out("of no patient")
    drug, indication = _medicine(resource, about), _indication(resource, about)
    written = _day("authoredOn", resource.authored_on)
    begun, until = _bounds(resource.dosage_instruction)
    start = begun or written
    if start is None:
        raise Invalid("authoredOn", "is missing")
    known_on = _day("meta.lastUpdated", resource.meta.last_updated)
    with in_words_of_fhir(_ELEMENTS):
        record = Prescription(
            id=PrescriptionId(about.around.new_id()),
            patient=PatientId(NOBODY),
            name=str(drug),
            start=start,
            code=_rxnorm(drug),
            coded=drug,
            dosage=_dosage(resource.dosage_instruction),
            until=until,
            indication=indication,
            prescribed_by=resource.requester.display if resource.requester is not None else "",
            holds=_holds(resource, known_on or start),
            end=_end(resource, known_on.last if known_on is not None else about.around.today),
            mistake=_MISTAKE if resource.status is MedicationRequestStatus.ENTERED_IN_ERROR else "",
            label=label,
            sources=(about.source,),
            source_digest=digest_of(resource, drug, indication),
        )
    written_at = resource.authored_on or ""
    at = read_date_time(written_at)[1] if written_at else None
    return about.incoming(record, subject=subject, at=at or start, practitioner=about.practitioner(resource.requester))


def _medicine(resource: resources.MedicationRequest, about: Chartable) -> Concept:
    """Return what is ordered: said of the order itself, of what it contains, or of another resource."""
    reference = resource.medication_reference
    if reference is None:
        with within("medicationCodeableConcept"):
            drug = read_concept(resource.medication_codeable_concept)
            if drug is None:
                raise Invalid("", "is missing")
            return drug
    with within("medicationReference"):
        if reference.reference.startswith("#"):
            found = _contained(resource.contained, reference.reference[1:])
        else:
            found = about.around.meanings.find(reference.reference)
        if found is None and reference.display:
            found = Concept(text=reference.display)
        if found is None:
            raise Invalid("", "refers to no medication in this input, and does not name it")
    return found


def _contained(contained: Sequence[Raw], named: str) -> Concept | None:
    for number, one in enumerate(contained):
        with within(f"contained.{number}"):
            resource = decode(one, resources.Coded)
            if resource.id == named:
                return read_concept(resource.code)
    return None


def _unfit(resource: resources.MedicationRequest, label: Label) -> str:
    """Return why an order is no prescription of ours; "" if it may be."""
    if resource.do_not_perform:
        return "says what is not to be given"
    if resource.intent in _NO_ORDERS:
        return "not an order"
    if label is Label.PSYCHOTHERAPY:
        return "marked as psychotherapy notes are"
    return _NO_STATUSES.get(resource.status, "")


def _rxnorm(drug: Concept) -> str:
    codes = {coding.code for coding in drug.codings if coding.system == RXNORM and _RXNORM_CODE.fullmatch(coding.code)}
    return codes.pop() if len(codes) == 1 else ""


def _day(field: str, text: str) -> PartialDate | None:
    if not text:
        return None
    with within(field):
        return read_date_time(text)[0]


def _bounds(dosages: Sequence[resources.DosageInstruction]) -> tuple[PartialDate | None, date | None]:
    """Return when a medicine is first and last to be taken, if its only dosage says so."""
    if len(dosages) != 1 or dosages[0].timing is None or dosages[0].timing.repeat is None:
        return None, None
    period = dosages[0].timing.repeat.bounds_period
    if period is None:
        return None, None
    with within("dosageInstruction.0.timing.repeat.boundsPeriod"):
        end = _day("end", period.end)
        return _day("start", period.start), None if end is None else end.last


def _indication(resource: resources.MedicationRequest, about: Chartable) -> str:
    said = [words_for(resource.reason_code)]
    for number, reference in enumerate(resource.reason_reference):
        with within(f"reasonReference.{number}"):
            meaning = None if reference.display else about.around.meanings.find(reference.reference)
        said.append(reference.display or str(meaning or ""))
    return "; ".join(dict.fromkeys(text for text in said if text))


def _holds(resource: resources.MedicationRequest, since: PartialDate) -> tuple[Hold, ...]:
    if resource.status is not MedicationRequestStatus.ON_HOLD:
        return ()
    return (Hold(since=since.first, reason=words_for([resource.status_reason])),)


def _end(resource: resources.MedicationRequest, known_on: date) -> End | None:
    """Return that it is over, if it is; FHIR does not say since when."""
    if resource.status not in _ENDED:
        return None
    completed = resource.status is MedicationRequestStatus.COMPLETED
    return End(on=None, known_on=known_on, reason=words_for([resource.status_reason]), completed=completed)


def _dosage(dosages: Sequence[resources.DosageInstruction]) -> Dosage:
    """Return how a medicine is to be taken. Raises `Invalid` for an amount or a rhythm that nobody may mean."""
    if len(dosages) != 1:
        return Dosage(instruction="\n".join(filter(None, map(_in_words, dosages))))
    (only,) = dosages
    with within("dosageInstruction.0"):
        dose, route, timing = _dose(only), _route(only), _timing(only)
        needed = words_for([only.as_needed_codeable_concept])
        return Dosage(
            dose=dose,
            route=route,
            timing=timing,
            as_needed=bool(only.as_needed_boolean) or bool(needed),
            as_needed_for=needed,
            instruction=_in_words(only, dose=dose, route=route, timing=timing),
        )


def _dose(dosage: resources.DosageInstruction) -> Dose | None:
    """Return the dose, if there is one and its unit is none or one of ours."""
    if len(dosage.dose_and_rate) != 1 or (quantity := dosage.dose_and_rate[0].dose_quantity) is None:
        return None
    if quantity.value is None:
        return None
    with within("doseAndRate.0.doseQuantity"):
        unit = _unit(quantity)
        named = quantity.code or quantity.unit
        dose = Dose(value=quantity.value, unit=unit) if unit is not None or not named else None
        if quantity.value <= 0:
            raise Invalid("value", "must be more than zero")
    return dose


def _unit(quantity: resources.Quantity) -> DoseUnit | None:
    for text in (quantity.code, quantity.unit):
        if text:
            try:
                return DoseUnit.written(text)
            except Invalid:
                continue
    return None


def _route(dosage: resources.DosageInstruction) -> Route | None:
    for coding in dosage.route.coding if dosage.route is not None else ():
        if coding.system == _SNOMED:
            try:
                return Route.coded(coding.code)
            except Invalid:
                continue
    return None


def _timing(dosage: resources.DosageInstruction) -> Timing | None:
    """Return the rhythm, if all that the source says of it is how often in what time."""
    repeat = dosage.timing.repeat if dosage.timing is not None else None
    if repeat is None or repeat.period is None or any(_rest_of(repeat)):
        return None
    try:
        unit = PeriodUnit(repeat.period_unit)
    except ValueError:
        return None
    with within("timing.repeat"):
        return Timing(frequency=repeat.frequency or 1, period=repeat.period, period_unit=unit)


def _rest_of(repeat: resources.Repeat) -> Iterator[str]:
    """Yield in words what a rhythm says beyond how often in what time."""
    if repeat.frequency_max is not None or repeat.period_max is not None:
        most = (repeat.frequency_max or repeat.frequency or 1, repeat.period_max or repeat.period or 1)
        yield f"up to {most[0]} times in {most[1]} {repeat.period_unit}".rstrip()
    if repeat.count is not None:
        yield f"{repeat.count} times in all"
    for name, values in (
        ("on", repeat.day_of_week),
        ("at", repeat.time_of_day),
        ("when", repeat.when),
    ):
        if values:
            yield f"{name} {', '.join(values)}"
    if repeat.offset is not None:
        yield f"{repeat.offset} minutes before or after that"


def _in_words(
    dosage: resources.DosageInstruction,
    *,
    dose: Dose | None = None,
    route: Route | None = None,
    timing: Timing | None = None,
) -> str:
    """Return what a dosage says beyond what was made of it."""
    said = [dosage.text, dosage.patient_instruction, words_for(dosage.additional_instruction)]
    if dose is None:
        said += map(_amount_in_words, dosage.dose_and_rate)
    if route is None:
        said.append(words_for([dosage.route]))
    if timing is None and dosage.timing is not None:
        repeat = dosage.timing.repeat
        said.append(words_for([dosage.timing.code]))
        if repeat is not None:
            said += _rhythm_in_words(repeat)
    return "; ".join(dict.fromkeys(text for text in said if text))


def _rhythm_in_words(repeat: resources.Repeat) -> Iterator[str]:
    if repeat.frequency is not None or repeat.period is not None:
        yield f"{repeat.frequency or 1} times in {repeat.period or 1} {repeat.period_unit}".rstrip()
    yield from _rest_of(repeat)


def _amount_in_words(amount: resources.DoseAndRate) -> str:
    if amount.dose_quantity is not None:
        return _quantity_in_words(amount.dose_quantity)
    if amount.dose_range is None:
        return ""
    bounds = (amount.dose_range.low, amount.dose_range.high)
    return " to ".join(filter(None, (_quantity_in_words(one) for one in bounds if one is not None)))


def _quantity_in_words(quantity: resources.Quantity) -> str:
    if quantity.value is None:
        return ""
    return f"{quantity.value:f} {quantity.unit or quantity.code}".rstrip()
