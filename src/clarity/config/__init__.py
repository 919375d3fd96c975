"""Settings: what an operator decides. Only `bootstrap` and the migrations import this package."""

from clarity.config.addresses import DatabaseAddress, TlsMode
from clarity.config.settings import Environment, LogFormat, SecondFactorUse, Settings, load_settings

__all__ = ["DatabaseAddress", "Environment", "LogFormat", "SecondFactorUse", "Settings", "TlsMode", "load_settings"]
