"""The bounds of the socket in one value, so that tests shorten them and the OpenAPI text quotes them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one caller may ask for. Sizes in bytes, times in seconds.

    ``connections`` counts everyone; ``admin_connections`` of them are kept for root, so that members of the group
    cannot lock root out. ``waits`` and ``admin_waits`` bound the long polls in the same way. ``request_s`` is the
    life of a whole exchange, from accept to the last byte of the reply; a long poll adds its own ``timeout_s``, and a
    round of proof adds ``round_s``: it asks the API server and looks for the event for seconds, over other requests
    where the policy hides the first.
    """

    request_s: float = 5.0
    body_bytes: int = 16 * 1024
    line_bytes: int = 2048
    field_bytes: int = 2048
    fields: int = 32
    connections: int = 32
    admin_connections: int = 8
    waits: int = 16
    admin_waits: int = 8
    wait_s: int = 600
    round_s: float = 20.0
    depth: int = 8
