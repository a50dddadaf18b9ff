"""A watch in a process of its own, for faults that take the whole process: one JSON list of words per line of input.

start | check | state | wait SECONDS | run WORD... | descriptors COUNT
"""

import json
import os
import resource
import subprocess
import sys
import threading
import time

from kauditd.effects.watch import Watch


def is_open(descriptor: int) -> bool:
    """Asked one by one, because listing them needs a descriptor, and a test may leave none."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def main() -> None:
    arrived = threading.Event()
    wakes = 0

    def wake(_path: str) -> None:
        nonlocal wakes
        wakes += 1
        arrived.set()

    watch = Watch(sys.argv[1:], wake)
    for line in sys.stdin:
        changed: tuple[str, ...] = ()
        status = 0
        match json.loads(line):
            case ["start"]:
                watch.start()
            case ["check"]:
                arrived.clear()
                changed = watch.check()
            case ["wait", seconds]:
                status = int(arrived.wait(float(seconds)))
            case ["run", *words]:
                status = subprocess.run(words, stdout=sys.stderr, check=False).returncode  # stdout is for answers
            case ["descriptors", count]:
                resource.setrlimit(resource.RLIMIT_NOFILE, (int(count), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        answer = {
            "changed": changed,
            "status": status,
            "wakes": wakes,
            "mode": watch.mode,
            "detail": watch.detail,
            "armed": watch.armed,
            "rearm_total": watch.rearm_total,
            "overflow_total": watch.overflow_total,
            "cpu_s": time.process_time(),
            "monotonic_s": time.monotonic(),
            "descriptors": sum(map(is_open, range(256))),
        }
        print(json.dumps(answer), flush=True)


main()
