"""Says on a terminal what is happening while a command waits; silent where stderr is not a terminal."""

import sys
import time


class Progress:
    """Prints each new phase once, with the seconds since the start."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._said: set[str] = set()
        self.is_shown = sys.stderr.isatty()

    def tell(self, key: str, text: str) -> None:
        """Prints ``text`` unless ``key`` was told before."""
        if not self.is_shown or key in self._said:
            return
        self._said.add(key)
        clean = "".join(character if character.isprintable() else "?" for character in text)
        print(f"{time.monotonic() - self._start_s:5.0f} s  {clean}", file=sys.stderr, flush=True)
