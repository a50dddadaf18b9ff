"""A bounded number of places, some of them kept for root."""

from kauditd.api.access import Role


class Slots:
    """Counts who holds a place. Readers may hold ``total - reserved`` of them, root may hold any."""

    def __init__(self, *, total: int, reserved: int) -> None:
        self._total = total
        self._for_readers = total - reserved
        self._held = dict.fromkeys(Role, 0)

    def take(self, role: Role) -> bool:
        """Takes a place if there is one for this role."""
        full = sum(self._held.values()) >= self._total
        if full or role is Role.NOBODY or (role is Role.READER and self._held[role] >= self._for_readers):
            return False
        self._held[role] += 1
        return True

    def give_back(self, role: Role) -> None:
        """Returns a place that ``take`` gave."""
        self._held[role] -= 1
