"""The routes: view one patient, list a page with how many there are, register."""

from auditlog.signals import accessed
from rest_framework import generics

from benchmarks.peers.django_project.models import Patient
from benchmarks.peers.django_project.serializers import PatientSerializer


class PatientList(generics.ListCreateAPIView):
    """List patients by id, or register one."""

    queryset = Patient.objects.prefetch_related("identifiers").order_by("pk")
    serializer_class = PatientSerializer


class PatientDetail(generics.RetrieveAPIView):
    """View one patient, and note that somebody did."""

    queryset = Patient.objects.prefetch_related("identifiers")
    serializer_class = PatientSerializer

    def get_object(self) -> Patient:
        """Return the patient whom the address names."""
        patient: Patient = super().get_object()
        accessed.send(Patient, instance=patient)
        return patient
