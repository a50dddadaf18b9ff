"""systemd itself is the judge of the reader: what a process was started with, against what was read, word by word."""

import json
import random
from collections.abc import Mapping, Sequence

import pytest

from tests.box.driving import ASKED, drive, in_force
from tests.box.machine import Machine

pytestmark = pytest.mark.box

DUMP = "/opt/dump/kube-apiserver"
DUMP_TEXT = """\
#!/usr/bin/python3
import json, os, sys
with open(os.environ["DUMP"], "w") as out:
    json.dump(sys.argv[1:], out)
"""
LINES = (
    r"""--a='b c' "--d=e f" --g="h 'i'" 'j "k"' l'm n'o"p q" """,
    r"""--a=\x41\102\u00e9\s\t|\" \' "\\" 'a\x42' \a\b\n\v""",
    r"""--a=\d \q "\w" a\ b c\  d""",
    r"""'' "" --a= ;b #c \; d;e""",
    r"""--n=%n --N=%N --p=%p --i=[%i] --percent=%% --j=%j""",
    r"""$ONE $MANY $NONE x$MANY ${MANY} a${ONE}b${NONE}c $$ONE $${ONE} ${MANY $ "$MANY" '${MANY}'""",
    r"""--audit-log-path $ONE $MANY --audit-log-maxage=${ONE}""",
    r"""$FROM_A $FROM_B $QUOTED $ESCAPED $JOINED $TRAILING""",
    "--a \\\n# comment \\\n   --b \\\n; comment\n  'c \\\n d' \\\n\t--e",
    r"""é --ü=ß "日本" \xe6\x97\xa5""",
    r"""--audit-log-path=/a --audit-log-path=/b $MANY --audit_policy_file=/p""",
    r"""--a -- b""",
)
ENVIRONMENT = r"""Environment=ONE=1 "MANY=--x=1 'two words' three\\ four" EMPTY=
Environment='FROM_A=unit' "ODD=a b"
EnvironmentFile=/etc/dump.env
EnvironmentFile=-/etc/none.env
"""
BLANKS = "   "
VARIABLES = r"""# a comment
; another
FROM_A = file
export FROM_B=no
FROM_B="it's \"quoted\" \$x \d
second line"
QUOTED='a\b' "c"
ESCAPED=a\ b\
c  d{TRAIL}
JOINED=a'b'"c"
TRAILING="x"y z
1BAD=no
""".replace("{TRAIL}", BLANKS)
PREFIXES = ("", ":", "-", "@")
PIECES = (*"xz '\"\\$%;#=-{}\té", "--x=", "$ONE", "${ONE}", "$MANY", "$$", "%%", "%n", r"\x7a", r"\n", r"\;", r"\u00e9")
PIECES += ("\\\n", "\\\n# c\n", " ", " #", "--v=1 ", "$CELL")
CELLS = (*"xz '\"\\$;#= \n\r\t", "\nCELL=", '"a b"', "'c d'", "\\\n", '\nONE="', "\n#")
RANDOM_UNITS = 150
SEED = 20


def unit_text(name: str, line: str, *, prefix: str = "", environment: str = ENVIRONMENT) -> str:
    program = f"{prefix}{DUMP}{' kube-apiserver' if prefix == '@' else ''}"
    return f"[Service]\nType=oneshot\nEnvironment=DUMP=/run/{name}.json\n{environment}ExecStart={program} {line}\n"


def install(machine: Machine, files: Mapping[str, str]) -> None:
    """Put many files into the box with one command; line ends as they are."""
    script = (
        "import json, sys\nfor path, text in json.load(sys.stdin).items():\n    open(path, 'w', newline='').write(text)"
    )
    machine.check("python3", "-c", script, data=json.dumps(files))
    machine.write(DUMP, DUMP_TEXT, mode="0755")


def dumped(machine: Machine, units: Sequence[str]) -> dict[str, list[str] | None]:
    """What systemd started each unit's program with, None where it did not."""
    machine.check("systemctl", "daemon-reload")
    machine.run("systemctl", "start", *units, timeout_s=120)  # some do not start, and that is an answer too
    script = (
        "import json, os, sys\n"
        "def take(path):\n"
        "    if not os.path.exists(path): return None\n"
        "    text = open(path).read(); os.unlink(path); return json.loads(text)\n"
        "print(json.dumps({unit: take(f'/run/{unit}.json') for unit in sys.argv[1:]}))"
    )
    return json.loads(machine.check("python3", "-c", script, *units))


def test_every_word_reaches_the_process_as_it_was_read(machine: Machine) -> None:
    units = {f"a{number}.service": unit_text(f"a{number}.service", line) for number, line in enumerate(LINES)}
    for number, prefix in enumerate(PREFIXES):
        units[f"b{number}.service"] = unit_text(f"b{number}.service", LINES[5], prefix=prefix)
    install(
        machine, {f"/etc/systemd/system/{name}": text for name, text in units.items()} | {"/etc/dump.env": VARIABLES}
    )
    before = dumped(machine, list(units))

    assert before == drive(machine, "words", *units)
    assert drive(machine, "compose", *units) == list(units)
    after = dumped(machine, list(units))
    assert after == drive(machine, "words", *units)
    for name, words in after.items():
        assert in_force(words) == in_force(before[name]) | in_force(ASKED)


def test_random_units_are_read_as_systemd_reads_them_or_refused(machine: Machine) -> None:
    chance = random.Random(SEED)

    def some(pieces: Sequence[str], most: int) -> str:
        return "".join(chance.choice(pieces) for _ in range(chance.randint(0, most)))

    names = [f"r{number}.service" for number in range(RANDOM_UNITS)]
    files = {f"/etc/{name}.env": f"ONE=1\nCELL={some(CELLS, 20)}" for name in names}
    for name in names:
        environment = f"Environment=\"MANY=--x=1 'two words'\"\nEnvironmentFile=/etc/{name}.env\n"
        files[f"/etc/systemd/system/{name}"] = unit_text(name, some(PIECES, 14), environment=environment)
    install(machine, files)
    before, read = dumped(machine, names), drive(machine, "words", *names)
    understood = [name for name in names if isinstance(read[name], list)]

    assert len(understood) > RANDOM_UNITS // 3
    assert {name: before[name] for name in understood} == {name: read[name] for name in understood}
    written = drive(machine, "compose", *understood)
    after = dumped(machine, written)
    for name in written:
        assert after[name] is not None, files[f"/etc/systemd/system/{name}"]
        assert [word for word in after[name] if word not in ASKED] == before[name]
