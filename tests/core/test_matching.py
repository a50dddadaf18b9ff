"""Which API servers are this target's."""

from kauditd.core.matching import match_processes
from tests.core.builders import NOW, process, view

HERE = (("advertise-address", "10.0.0.1"), ("secure-port", "6443"), ("etcd-servers", "https://127.0.0.1:2379"))
OURS = process(100, NOW - 60, *HERE)


def test_server_of_a_nested_cluster_is_not_ours() -> None:
    nested = process(50, NOW - 600, ("advertise-address", "172.18.0.2"), *HERE[1:])
    other_port = process(51, NOW - 600, HERE[0], ("secure-port", "7443"), HERE[2])
    assert match_processes(view(*HERE), [nested, OURS, other_port]) == (OURS,)


def test_another_etcd_does_not_hide_our_own_process() -> None:
    """Address and port decide: while an administrator moves etcd, the running process still names the old one."""
    before_the_move = process(50, NOW - 600, *HERE[:2], ("etcd-servers", "https://10.9.9.9:2379"))
    assert match_processes(view(*HERE), [before_the_move]) == (before_the_move,)


def test_side_that_names_nothing_never_hides_its_process() -> None:
    bare = process(7, NOW - 5)
    assert match_processes(view(*HERE), [bare]) == (bare,)
    assert match_processes(view(), [OURS]) == (OURS,)


def test_nothing_known_of_the_target_shows_all_in_order_of_start() -> None:
    older, twin = process(900, NOW - 600), process(99, NOW - 60)
    assert match_processes(None, [OURS, older, twin]) == (older, twin, OURS)


def test_last_of_two_flags_decides() -> None:
    doubled = process(8, NOW, ("secure-port", "7443"), ("secure-port", "6443"))
    assert match_processes(view(*HERE), [doubled]) == (doubled,)
