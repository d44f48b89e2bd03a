"""A model checked from its files to its first answer: what is wrong, and what to do about it."""

from vl2.doctor.examination import examine
from vl2.doctor.findings import Finding, State

__all__ = ["Finding", "State", "examine"]
