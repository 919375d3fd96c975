"""The settings of the project, from the environment: `BENCHMARK_DATABASE_URL`, and `BENCHMARK_POOL` for a server.

Under ASGI each request has a thread of its own, for which Django's documentation advises the driver's pool; whoever
keeps threads keeps a connection in each. Nobody has to log in, and nothing is limited by a rate.
"""

import os
from urllib.parse import parse_qs, unquote, urlsplit

from benchmarks.peers import CONNECTIONS, PAGE

_place = urlsplit(os.environ["BENCHMARK_DATABASE_URL"])
_pooled = "BENCHMARK_POOL" in os.environ

# Keys that live for one measurement.
SECRET_KEY = "a key of fifty characters, for one measurement only"
SALT_KEY = "0123456789abcdefghijklmnopqrstuvwxyz"

ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "auditlog",
    "rest_framework",
    "benchmarks.peers.django_project.apps.PracticeConfig",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "auditlog.middleware.AuditlogMiddleware",
]
ROOT_URLCONF = "benchmarks.peers.django_project.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _place.path.lstrip("/"),
        "USER": unquote(_place.username or ""),
        "PASSWORD": unquote(_place.password or ""),
        "HOST": parse_qs(_place.query).get("host", [_place.hostname or ""])[0],
        "PORT": str(_place.port or ""),
        "CONN_MAX_AGE": 0 if _pooled else None,
        "OPTIONS": {"pool": {"min_size": CONNECTIONS, "max_size": CONNECTIONS}} if _pooled else {},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "PAGE_SIZE": PAGE,
    "UNAUTHENTICATED_USER": None,
}
