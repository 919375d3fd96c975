"""The one application of the project."""

from django.apps import AppConfig


class PracticeConfig(AppConfig):
    """The practice, whose tables are made from its models without migrations."""

    name = "benchmarks.peers.django_project"
    label = "practice"
