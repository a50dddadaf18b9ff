"""Pure decisions: text and values in, values out.

Charter: no I/O, no clock, no asyncio, no global state. A function here gives the same answer for the same
arguments for ever, and is covered by tests to the last branch. What needs the world belongs in ``effects``.
"""
