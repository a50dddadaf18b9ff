"""How long things take on a real node, in simulated seconds, and how fast the simulation runs.

Every figure was measured (kubelet and kube-apiserver v1.37.2, two shared cores); the comment beside it says as what.
"""

import random

RELIST_S = 20.0  # fileCheckFrequency, the kubelet's fixed tick
REARM_S = 1.0  # a lost directory watch is set again
GRACE_S = 30.0  # terminationGracePeriodSeconds where the manifest has none
SHUTDOWN_S = 1.2  # SIGTERM to exit where no watch holds the process
REQUEUE_S = 10.0  # "Pod cannot start yet": asked again after 10 s with 0 to 50 % jitter
WORKER_DONE_S = 1.3  # process gone to pod worker done
SAME_UID_RESTART_S = 1.9  # process gone to restart of the very same pod
SAME_UID_AFTER_ADD_S = 2.2  # ... where the pod came back after its process had gone
FIRST_START_S = 0.5  # a pod that waits for nobody
CRASH_RESTART_S = 0.3  # the first restart after a crash
LOG_DELETED_S = 0.8  # attempt N-1's log goes this long after attempt N ended
POD_LOGS_DELETED_S = 60.0  # a removed pod's log directory (the container collector's tick)
BACKOFF_S = 10.0  # doubled by every crash ...
BACKOFF_MAX_S = 300.0  # ... up to five minutes,
BACKOFF_RESET_S = 600.0  # and forgotten after ten quiet minutes
MOUNT_RETRY_S = 0.5  # hostPath type check failed; doubled ...
MOUNT_RETRY_MAX_S = 122.0  # ... up to 2m2s
LISTEN_S = 2.0  # API server: process start to first answer
AUTHORIZED_S = 2.4  # ... until then anonymous requests get 403
READY_S = 3.4  # ... until then /readyz answers 500


class Pace:
    """Turns simulated seconds into real ones; jitter comes from a seeded source, so that a run can be repeated."""

    def __init__(self, *, speed: float, seed: int) -> None:
        self.speed = speed
        self._random = random.Random(seed)

    def real_s(self, simulated_s: float) -> float:
        """How long ``simulated_s`` lasts here."""
        return simulated_s / self.speed

    def requeue_s(self) -> float:
        """One wait of the pod worker's queue: 10 to 15 simulated seconds."""
        return REQUEUE_S * (1 + self._random.uniform(0, 0.5))

    def backoff_s(self, crashes: int) -> float:
        """The delay before restart ``crashes`` (1 is the first) of one container, rounded up by the sync tick."""
        if crashes <= 1:
            return CRASH_RESTART_S
        delay = min(BACKOFF_S * 2.0 ** min(crashes - 2, 16), BACKOFF_MAX_S)
        return delay * (1 + self._random.uniform(0, 0.15))
