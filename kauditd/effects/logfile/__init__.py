"""The audit log as it lies on the node: who holds it, whether an event is in it, how many lines it has.

Charter: read only, by descriptor, in bounded steps; a log is written and rotated while it is read. What cannot be
seen is said to be unknown, never taken for absent. Calls block.
"""

from kauditd.effects.logfile.counting import begin_count, count_lines, count_more
from kauditd.effects.logfile.ending import last_event_unix_s
from kauditd.effects.logfile.finding import find_event
from kauditd.effects.logfile.inspecting import inspect_log
from kauditd.effects.logfile.opening import mark

__all__ = ["begin_count", "count_lines", "count_more", "find_event", "inspect_log", "last_event_unix_s", "mark"]
