"""How patients travel."""

from typing import Any

from rest_framework import serializers

from benchmarks.peers.django_project.models import Identifier, Patient
from benchmarks.peers.django_project.records import registered
from clarity.domain.access import OPERATOR


class IdentifierSerializer(serializers.ModelSerializer):
    """An identifier, as a part of its patient."""

    class Meta:
        model = Identifier
        fields = ("kind", "value")


class PatientSerializer(serializers.ModelSerializer):
    """A patient with their identifiers."""

    identifiers = IdentifierSerializer(many=True)

    class Meta:
        model = Patient
        fields = "__all__"
        read_only_fields = ("id", "created_at", "created_by", "updated_at", "updated_by", "version")

    def create(self, validated_data: dict[str, Any]) -> Patient:
        """Register somebody."""
        identifiers = validated_data.pop("identifiers")
        return registered({**validated_data, "created_by": OPERATOR, "updated_by": OPERATOR}, identifiers)
