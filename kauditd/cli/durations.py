"""Times as people type them."""

from kauditd.cli.exits import USAGE, Failure

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def read_duration_s(text: str) -> int:
    """Seconds of ``90``, ``30s``, ``10m``, ``2h`` or ``1d``; ``Failure`` for anything else and for nothing at all."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNIT_S else (text, "s")
    if not (number.isascii() and number.isdigit() and len(number) <= 9 and int(number) > 0):
        raise Failure(f"cannot use {text!a} as a duration", code=USAGE, hint="give a number with s, m, h or d: 10m")
    return int(number) * _UNIT_S[unit]
