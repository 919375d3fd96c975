"""The addresses of the project."""

from django.urls import path

from benchmarks.peers.django_project.views import PatientDetail, PatientList

urlpatterns = [
    path("api/patients", PatientList.as_view()),
    path("api/patients/<uuid:pk>", PatientDetail.as_view()),
]
