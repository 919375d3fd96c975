"""The project for a server: `uvicorn benchmarks.peers.django_project.asgi:application`."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.peers.django_project.settings")
application = get_asgi_application()
