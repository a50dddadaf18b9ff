"""The command line: asks the daemon over its socket, or starts the program that reads the node itself.

Charter: imports this package, ``kauditd._version`` and the standard library, and of that as little as a verb needs.
``status`` must cost what an interpreter costs, so ``main``, ``options``, ``wire`` and ``status`` use built-in modules
only: no argparse, json, socket, typing, dataclasses, re (hence plain classes with slots). Each other verb is a module
that is loaded when it is asked for. Text for people is rendered by the daemon; JSON is the API's own result.
"""
