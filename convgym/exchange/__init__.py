"""Logs that others wrote, read as ours, and ours written for others.

``import_log`` makes episodes of chats in common formats and tells of everything that it left out or
changed; ``export_log`` writes a log in those formats. Packages that a format needs are loaded with
its first file (the extra ``logs``).
"""

from convgym.exchange.exporting import Exported, export_log
from convgym.exchange.importing import Imported, import_log
from convgym.exchange.settings import ImportSettings

__all__ = ["Exported", "ImportSettings", "Imported", "export_log", "import_log"]
