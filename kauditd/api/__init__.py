"""The HTTP API on a Unix socket: a route table over engine snapshots.

Charter: every route is a row in ``table`` with its access class; peer credentials decide, never a request body;
handlers read a ``Snapshot`` or call one method of ``Backend`` and hold no state of their own.
"""
