"""Directory watching on watchdog: a hint that something changed, never the truth about it.

Charter: what watchdog (7.1, and 6.x alike unless said) does not do is done here. It is blind once a watched directory
is renamed away, replaced, mounted over or unmounted; its emitter ends when the directory is deleted; a queue overflow
reaches no handler (7.1 logs a warning, 6.x says nothing); an unpaired rename is held for half a second, and kubeadm's
upgrade renames the manifest out before it renames the new one in (cmd/kubeadm/app/phases/upgrade/staticpods.go). The
caller re-lists every few seconds whatever this package says.
"""

from kauditd.effects.watch.watching import Watch

__all__ = ["Watch"]
