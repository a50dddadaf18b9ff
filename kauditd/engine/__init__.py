"""Decides when: observe -> decide -> act -> prove, one cycle at a time, each ending in one sentence.

Charter: sees the world only through the Protocols of ``ports``, leaves every decision that needs no world to
``core``, and publishes one immutable ``Snapshot`` that ``api`` serves. ``except Exception`` is allowed in ``loop``
alone, where it marks the cycle failed and counts it.
"""
