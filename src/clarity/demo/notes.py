"""Working notes as a psychiatric practice keeps them: why somebody came, how it went, what is next.

Scales and doses stand in the ranges of their manuals and labels, so that what is built on the notes meets plausible
text. They are examples of writing and not of treatment.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from random import Random

from clarity.application.ports import NewId
from clarity.domain.ids import NoteId
from clarity.domain.notes import Note, NoteKind
from clarity.domain.patients import Patient


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What somebody is treated for, from `youngest` to `oldest` years of age.

    `scale` is the questionnaire with the lowest and highest score at the first visit, and the lowest it
    knows. `courses` are treatments in the order in which they are stepped up.
    """

    youngest: int
    oldest: int
    share: int
    presenting: tuple[str, ...]
    scale: tuple[str, int, int, int]
    courses: tuple[tuple[str, ...], ...]
    better: tuple[str, ...]
    same: tuple[str, ...]
    plans: tuple[str, ...]


CONDITIONS = (
    Condition(
        youngest=18,
        oldest=110,
        share=26,
        presenting=(
            "Recurrent major depressive disorder, third episode. Low mood since the winter, wakes at four.",
            "Major depressive disorder, moderate. Referred after two months off work; no earlier episode.",
            "Persistent depressive disorder with a present major episode. Two earlier trials ended by side effects.",
        ),
        scale=("PHQ-9", 15, 24, 0),
        courses=(
            ("sertraline 50 mg in the morning", "sertraline 100 mg in the morning", "sertraline 150 mg in the morning"),
            ("escitalopram 10 mg daily", "escitalopram 20 mg daily"),
            ("bupropion XL 150 mg in the morning", "bupropion XL 300 mg in the morning"),
            ("mirtazapine 15 mg at night", "mirtazapine 30 mg at night"),
        ),
        better=("Sleeps through most nights.", "Back to part-time work.", "Sees friends again, laughs in the session."),
        same=("Mood unchanged, energy a little better.", "Early waking persists.", "Missed doses at the weekend."),
        plans=(
            "Continue behavioural activation.",
            "PHQ-9 again at the next visit.",
            "Discussed staying on it for a year.",
        ),
    ),
    Condition(
        youngest=16,
        oldest=85,
        share=16,
        presenting=(
            "Generalized anxiety disorder. Worries about health and money most of the day; tense shoulders.",
            "Panic disorder without agoraphobia. Four attacks a week, avoids the subway.",
        ),
        scale=("GAD-7", 12, 20, 0),
        courses=(
            ("venlafaxine XR 37.5 mg daily", "venlafaxine XR 75 mg daily", "venlafaxine XR 150 mg daily"),
            ("sertraline 25 mg daily", "sertraline 50 mg daily", "sertraline 100 mg daily"),
            ("buspirone 5 mg twice daily", "buspirone 10 mg twice daily"),
        ),
        better=(
            "Rode the train twice this week.",
            "Falls asleep within half an hour.",
            "Worry time kept to twenty minutes.",
        ),
        same=("One attack at the supermarket.", "Still checks the door several times.", "Homework done in part."),
        plans=("Exposure hierarchy, next step agreed.", "No benzodiazepine.", "Reduce coffee to one cup."),
    ),
    Condition(
        youngest=18,
        oldest=75,
        share=12,
        presenting=(
            "Bipolar I disorder, last manic episode two years ago with admission. Mother on lithium with good effect.",
            "Bipolar II disorder, long depressive phases; hypomania after the change of shift.",
        ),
        scale=("MADRS", 18, 32, 0),
        courses=(
            (
                "lithium carbonate 600 mg at night, level 0.5 mmol/L",
                "lithium carbonate 900 mg at night, level 0.7 mmol/L",
                "lithium carbonate 900 mg at night, level 0.8 mmol/L",
            ),
            ("lamotrigine 25 mg daily, slow titration", "lamotrigine 100 mg daily", "lamotrigine 200 mg daily"),
            ("quetiapine 50 mg at night", "quetiapine 150 mg at night", "quetiapine 300 mg at night"),
        ),
        better=("Keeps a sleep diary, seven hours.", "Partner reports steady mood.", "No large purchases."),
        same=("Irritable for three days, then settled.", "Slept four hours before the trip.", "Slow in the mornings."),
        plans=(
            "TSH, creatinine and calcium before the next visit.",
            "Early-warning plan reviewed.",
            "No skin changes.",
        ),
    ),
    Condition(
        youngest=18,
        oldest=75,
        share=11,
        presenting=(
            "Schizophrenia, stable for years on a depot. Lives in a group home, works in its kitchen.",
            "Schizophrenia, resistant to two antipsychotics; voices comment daily. Clozapine discussed.",
            "Schizoaffective disorder, bipolar type. Discharged from hospital three weeks ago.",
        ),
        scale=("PANSS", 72, 104, 30),
        courses=(
            ("paliperidone palmitate 117 mg monthly", "paliperidone palmitate 156 mg monthly"),
            (
                "clozapine 100 mg daily, ANC 4.1 x10^9/L",
                "clozapine 250 mg daily, ANC 3.8 x10^9/L",
                "clozapine 350 mg daily, ANC 3.9 x10^9/L",
            ),
            ("aripiprazole lauroxil 441 mg monthly", "aripiprazole lauroxil 662 mg monthly"),
        ),
        better=("Voices quieter, can ignore them.", "Joined the walking group.", "Calls the family every Sunday."),
        same=("Voices as before, not commanding.", "Sleeps until noon.", "AIMS 2, lips only."),
        plans=("AIMS, weight and HbA1c in three months.", "Depot by the nurse on Tuesday.", "Family session booked."),
    ),
    Condition(
        youngest=18,
        oldest=80,
        share=10,
        presenting=(
            "Post-traumatic stress disorder after a road accident. Nightmares four times a week, does not drive.",
            "Post-traumatic stress disorder, assault at work. Startles, sits facing the door.",
        ),
        scale=("PCL-5", 42, 66, 0),
        courses=(
            ("prazosin 1 mg at night", "prazosin 3 mg at night", "prazosin 6 mg at night"),
            ("sertraline 50 mg daily", "sertraline 100 mg daily", "sertraline 150 mg daily"),
        ),
        better=("One nightmare this week.", "Drove to the session.", "Stayed through the fireworks with ear plugs."),
        same=("Avoids the news.", "Anniversary last week, bad nights.", "Imaginal exposure cut short."),
        plans=(
            "Prolonged exposure, session five.",
            "Blood pressure lying and standing.",
            "Safety plan is in the wallet.",
        ),
    ),
    Condition(
        youngest=6,
        oldest=19,
        share=16,
        presenting=(
            "ADHD, combined presentation. School reports, two questionnaires and the interview agree.",
            "ADHD, predominantly inattentive, found late; grades fell with the change of school.",
        ),
        scale=("ADHD-RS-5", 30, 46, 0),
        courses=(
            (
                "methylphenidate ER 18 mg in the morning",
                "methylphenidate ER 27 mg in the morning",
                "methylphenidate ER 36 mg in the morning",
            ),
            ("atomoxetine 18 mg daily", "atomoxetine 40 mg daily"),
            ("guanfacine ER 1 mg at night", "guanfacine ER 2 mg at night"),
        ),
        better=("Homework done before dinner.", "No calls from school.", "Appetite back after the first month."),
        same=("Appetite low at noon.", "Still loses jackets.", "Rebound at five in the afternoon."),
        plans=(
            "Pulse, blood pressure, height and weight each visit.",
            "Letter to the school.",
            "Parent training, session three.",
        ),
    ),
    Condition(
        youngest=6,
        oldest=17,
        share=12,
        presenting=(
            "Separation anxiety disorder. Has missed nineteen days of school since September.",
            "Autism spectrum disorder with anxiety. Verbal, loves trains; meltdowns when plans change.",
            "Depressive episode in adolescence after a move. Cut once in spring, not since.",
        ),
        scale=("SCARED", 32, 54, 0),
        courses=(
            ("no medication, CBT with the family", "no medication, CBT with the family"),
            ("fluoxetine 10 mg in the morning", "fluoxetine 20 mg in the morning"),
        ),
        better=("Four days of school this week.", "Slept at a friend's house.", "Used the visual timetable alone."),
        same=(
            "Stomach aches on Mondays.",
            "Came with both parents, spoke little.",
            "One hard evening, calmed within the hour.",
        ),
        plans=(
            "School meeting on Thursday.",
            "Parents keep the reward chart.",
            "Boxed warning discussed with the family.",
        ),
    ),
    Condition(
        youngest=10,
        oldest=60,
        share=6,
        presenting=("Obsessive-compulsive disorder. Washes for three hours a day, hands cracked; insight good.",),
        scale=("Y-BOCS", 24, 34, 0),
        courses=(
            ("fluvoxamine 50 mg at night", "fluvoxamine 100 mg at night", "fluvoxamine 200 mg at night"),
            ("fluoxetine 20 mg daily", "fluoxetine 40 mg daily", "fluoxetine 60 mg daily"),
        ),
        better=("Touched the rail without washing.", "Washing down to forty minutes.", "Skin healed."),
        same=("New ritual with the light switch.", "Family still accommodates.", "Exposure done in the clinic only."),
        plans=("ERP twice a week.", "Family asked not to reassure.", "Y-BOCS again in a month."),
    ),
    Condition(
        youngest=14,
        oldest=40,
        share=5,
        presenting=("Anorexia nervosa, restricting type. BMI 16.9, pulse 52, feels cold all day.",),
        scale=("CIA", 22, 40, 0),
        courses=(
            (
                "meal plan, no medication",
                "meal plan, olanzapine 2.5 mg at night",
                "meal plan, olanzapine 5 mg at night",
            ),
        ),
        better=("Gained 0.4 kg a week.", "Ate lunch with others.", "Electrolytes normal."),
        same=("Weight unchanged.", "Exercises in secret, and says so.", "Phosphate at the lower limit."),
        plans=(
            "Weekly weight and blood.",
            "Family-based treatment, phase two.",
            "Admission if the pulse falls below 45.",
        ),
    ),
    Condition(
        youngest=65,
        oldest=110,
        share=14,
        presenting=(
            "Late-life depression with mild neurocognitive disorder. Widowed in May; a daughter comes twice a week.",
            "Alzheimer's disease, early, with apathy. Was an engineer; still does the crossword, with help.",
        ),
        scale=("GDS-15", 9, 14, 0),
        courses=(
            ("escitalopram 5 mg daily", "escitalopram 10 mg daily, QTc 428 ms"),
            ("mirtazapine 7.5 mg at night", "mirtazapine 15 mg at night"),
            ("donepezil 5 mg at night", "donepezil 10 mg at night"),
        ),
        better=("Goes to the day centre.", "Eats with appetite.", "MoCA 24, as last year."),
        same=("Asks for the spouse in the evening.", "Two falls since spring, none recent.", "Sleeps in the chair."),
        plans=(
            "Sodium in four weeks.",
            "Health-care proxy is the daughter.",
            "Beers list reviewed with the pharmacist.",
        ),
    ),
)
_RISKS = (
    "No suicidal thoughts (C-SSRS negative).",
    "No suicidal thoughts.",
    "Passive thoughts of death, no plan, no intent; safety plan renewed.",
)
_ENTRY = re.compile(r"^(\d{4}-\d{2}-\d{2})  (.+)$", re.MULTILINE)
_SENTENCES = re.compile(r"(?<=[.)]) (?=[A-Z])")
_AT = time(11)
_WRITTEN_WITHIN = timedelta(hours=1)
_PRACTICAL = (
    "Call the mobile; no messages on the home line.",
    "Prefers the first appointment of the day.",
    "Comes by the accessible van, may be ten minutes late.",
    "Portal messages are read by a relative, with consent.",
    "Video visits work well.",
)


def working_notes(random: Random, age: int, last_visit: date, *, interpreter: str = "") -> str:
    """Return the notes on somebody of this age, the newest entry first. `interpreter` names a language, "" for none."""
    fitting = [condition for condition in CONDITIONS if condition.youngest <= age <= condition.oldest]
    condition = random.choices(fitting, [one.share for one in fitting])[0]
    entries = _course(random, condition, last_visit)
    practical = [random.choice(_PRACTICAL)] if random.random() < 0.5 else []
    if interpreter:
        practical.append(f"{interpreter} interpreter at every visit.")
    return "\n\n".join([*reversed(entries), *practical])


def entries_of(patient: Patient) -> list[tuple[date, str]]:
    """Return the entries of the notes in a made-up record, each with its day, the oldest first."""
    return [(date.fromisoformat(day), told) for day, told in reversed(_ENTRY.findall(patient.notes))]


def visit_notes(patient: Patient, written_by: str, zone: tzinfo, new_id: NewId) -> Iterator[Note]:
    """Yield a signed note for each entry of the notes in a made-up record, the oldest first."""
    for visit, (day, told) in enumerate(entries_of(patient)):
        about = datetime.combine(day, _AT, zone)
        yield Note(
            id=NoteId(new_id()),
            patient=patient.id,
            kind=NoteKind.PROGRESS if visit else NoteKind.INTAKE,
            title=f"Visit {visit + 1}" if visit else "Intake",
            body="".join(f"- {sentence}\n" for sentence in _SENTENCES.split(told)),
            about=about,
            encounter="Office visit",
            written_by=written_by,
            signed_at=(about + _WRITTEN_WITHIN).astimezone(UTC),
        )


def _course(random: Random, condition: Condition, last_visit: date) -> list[str]:
    """Return the entries of one treatment, the oldest first, the last one on `last_visit`."""
    course = random.choice(condition.courses)
    visits = random.randint(2, 4)
    scale, low, high, least = condition.scale
    score = random.randint(low, high)
    day = last_visit - timedelta(weeks=4 * (visits - 1))
    first = (random.choice(condition.presenting), f"{scale} {score}.", _risk(random), f"Start: {course[0]}.")
    entries = [_entry(day, first)]
    remarks = _shuffled(random, condition.better), _shuffled(random, condition.same), _shuffled(random, condition.plans)
    for visit in range(1, visits):
        improved = random.random() < 0.7
        before, score = (
            score,
            max(least, round(score * (random.uniform(0.6, 0.85) if improved else random.uniform(0.95, 1.05)))),
        )
        day += timedelta(weeks=4)
        treatment = course[min(visit, len(course) - 1)]
        remark = remarks[0 if improved else 1][visit - 1]
        told = (remark, f"{scale} {score} (was {before}).", _risk(random), f"{treatment[0].upper()}{treatment[1:]}.")
        entries.append(_entry(day, (*told, remarks[2][visit - 1])))
    return entries


def _entry(day: date, sentences: Sequence[str]) -> str:
    return f"{day.isoformat()}  {' '.join(sentences)}"


def _risk(random: Random) -> str:
    return random.choices(_RISKS, (8, 10, 1))[0]


def _shuffled(random: Random, texts: Sequence[str]) -> list[str]:
    return random.sample(texts, len(texts))
