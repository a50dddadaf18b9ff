"""kauditd keeps the Kubernetes API server's audit trail on and proves that it works.

Charter: this package imports nothing, so that ``kauditctl`` pays nothing for it.
Layers, top to bottom: daemon > api > engine > effects > core > errors; ``cli`` and ``sim`` stand apart.
"""
