"""The unit editor: audit flags put into an API server that systemd runs, by one drop-in of our own.

Charter: the files of a unit in, the content of ``UNIT.d/90-kauditd.conf`` out, and nothing in between but text and
values. Law 3 (only our lines) is kept by never writing into anybody else's file: the drop-in clears ``ExecStart=`` and
sets it again, word for word as it stood, with our flags. It is a function of the files underneath it; when those
change it is derived again (``drop_in_is_stale``). What an ``EnvironmentFile=`` brings through ``$NAME`` stays there,
and ours is appended behind it, where the last flag wins. Every refusal is a ``ManifestRefused`` with one of these
codes:

==================== =============================================================================================
``not-found``        no such unit, or one without a file
``masked``           the unit is masked
``generated``        the unit is made at run time (a generator, systemd-run)
``bad-unit``         systemd would not load it, or not split its command
``bad-environment``  an environment file that two releases of systemd read differently, or that is not UTF-8
``too-large``        a file of more than 1 MiB
``not-utf8``         a file that is not UTF-8
``no-api-server``    ExecStart= starts something else, or nothing
``shell-wrapped``    kube-apiserver is started through a shell or another program
``several-commands`` more than one ExecStart= (Type=oneshot), or a ``;``
``flags-ended``      a variable brings ``--``, behind which no flag counts
``sandboxed``        the service does not see the log or policy directory
``overridden``       a drop-in that is read after ours sets ExecStart= again
``not-ours``         a file with our drop-in's name that we did not write
``changed``          (strip) our drop-in was changed since
``bad-document``     (``document``) the bytes are no unit document
``verify-failed``    the result would not be the original with our change alone
==================== =============================================================================================
"""

from kauditd.core.hostproc.editor import drop_in_is_stale, edit, read, run_as, strip
from kauditd.core.hostproc.environment import environment_patterns
from kauditd.core.hostproc.service import settings_of
from kauditd.core.hostproc.source import (
    DROP_IN_NAME,
    EnvironmentFile,
    UnitFile,
    UnitSource,
    drop_in_of,
    drop_in_path,
    underneath,
    with_drop_in,
)

__all__ = [
    "DROP_IN_NAME",
    "EnvironmentFile",
    "UnitFile",
    "UnitSource",
    "drop_in_is_stale",
    "drop_in_of",
    "drop_in_path",
    "edit",
    "environment_patterns",
    "read",
    "run_as",
    "settings_of",
    "strip",
    "underneath",
    "with_drop_in",
]
