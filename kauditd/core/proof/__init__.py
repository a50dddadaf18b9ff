"""The proof: whether the events of this API server arrive in the file.

Charter: only an event that was seen in the file proves anything, and what cannot be told is never called a failure.
Pure: facts in, one result out.
"""

from kauditd.core.proof.decision import recorded_routes
from kauditd.core.proof.facts import (
    CanaryFacts,
    Evidence,
    Held,
    Inconclusive,
    LogFacts,
    PolicyFacts,
    ProofFacts,
    ProofResult,
    Proven,
    Unproven,
)
from kauditd.core.proof.judging import FULL_BYTES, judge, routes_to_try

__all__ = [
    "FULL_BYTES",
    "CanaryFacts",
    "Evidence",
    "Held",
    "Inconclusive",
    "LogFacts",
    "PolicyFacts",
    "ProofFacts",
    "ProofResult",
    "Proven",
    "Unproven",
    "judge",
    "recorded_routes",
    "routes_to_try",
]
