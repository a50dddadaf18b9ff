"""The manifest editor: audit flags, mounts and volumes put into an API server's static pod manifest, and taken out.

Charter: bytes in, bytes out, and nothing in between but text and values; what a file is, who owns it and when it is
written is for others to know. Law 3 (only our lines) is kept here: ruamel.yaml parses and locates, the original text
is spliced line by line, and the result is parsed again and must be, as an object, the original plus exactly our
change. Every refusal is a ``ManifestRefused`` with one of these codes:

=================== ==============================================================================================
``empty``           nothing in the file
``too-large``       more than 1 MiB
``not-utf8``        not UTF-8
``tabs``            a tab where YAML wants spaces
``bad-yaml``        not valid YAML (or JSON), nested too deeply, a directive for another version
``duplicate-key``   a key twice in one mapping
``two-documents``   more than one document
``alias``           an alias, an anchor in use or a merge key where a cut has to be made, or aliases beyond reason
``not-a-pod``       not a Pod of apiVersion v1, or one that the kubelet does not decode
``no-api-server``   no container whose command starts with kube-apiserver
``two-api-servers`` more than one such container
``shell-wrapped``   kube-apiserver is started through a shell or another program
``changed``         (strip) what we wrote was changed since
``verify-failed``   the result would not be the original with our change alone
=================== ==============================================================================================
"""

from kauditd.core.manifest.digest import pod_digest
from kauditd.core.manifest.editor import edit
from kauditd.core.manifest.prepared import Prepared, prepare
from kauditd.core.manifest.shadow import defines_api_server
from kauditd.core.manifest.strip import record_of, strip
from kauditd.core.manifest.view import read

__all__ = ["Prepared", "defines_api_server", "edit", "pod_digest", "prepare", "read", "record_of", "strip"]
