"""Skeletons of notes, as Markdown to be filled in. They hold headings and hints, and nothing of anybody."""

from dataclasses import dataclass
from typing import Final

from clarity.domain.notes import NoteKind


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteTemplate:
    """A skeleton: what it is called, for which kind of note, and the public source of its headings."""

    name: str
    title: str
    kind: NoteKind
    source: str
    body: str


_SOAP = """\
## Subjective

*What the patient reports: chief complaint, history of the present illness, changes since the last visit.*

## Objective

*What was observed and measured: mental status examination, vital signs, scales, laboratory results.*

## Assessment

*Diagnoses and differential, course, and risk.*

## Plan

*Treatment, medication, tests, referrals, safety plan, next visit.*
"""

_MENTAL_STATUS = """\
## Appearance

*Age as it appears, grooming, dress, posture.*

## Behaviour

*Attitude, eye contact, motor activity, abnormal movements.*

## Speech

*Rate, rhythm, volume, quantity.*

## Mood

*In the patient's own words.*

## Affect

*Range, intensity, congruence with mood.*

## Thought process

*Linear, circumstantial, tangential, flight of ideas, blocking.*

## Thought content

*Suicidal and homicidal ideation, delusions, obsessions, preoccupations.*

## Perception

*Hallucinations, illusions, depersonalisation, derealisation.*

## Cognition

*Alertness, orientation, attention, memory, abstraction.*

## Insight

*Understanding of the illness and of the need for treatment.*

## Judgement

*Decisions in the situation at hand.*
"""

NOTE_TEMPLATES: Final = (
    NoteTemplate(
        name="soap",
        title="SOAP",
        kind=NoteKind.PROGRESS,
        source="Podder V, Lew V, Ghassemzadeh S. SOAP Notes. StatPearls, NCBI Bookshelf NBK482263",
        body=_SOAP,
    ),
    NoteTemplate(
        name="mental-status",
        title="Mental status examination",
        kind=NoteKind.PROGRESS,
        source="Voss RM, M Das J. Mental Status Examination. StatPearls, NCBI Bookshelf NBK546682",
        body=_MENTAL_STATUS,
    ),
)
"""Every skeleton."""
