#!/bin/sh
# Runs the tests in stages and ends with one plain line, "N passed, N failed, N skipped", the sum of all stages.
#   tests/run.sh          everything that needs nothing but Python
#   tests/run.sh check    the linters, layers and budgets
#   tests/run.sh coverage the pure code's tests, which must take its every branch
#   tests/run.sh box      systemd in a container
#   tests/run.sh real     real kubeadm, kube-apiserver and etcd
# $VENV is the environment that the Makefile made; without it, the python3 on the path is taken.
set -u
cd "$(dirname "$0")/.." || exit 2
python=${VENV:+$VENV/bin/}python3
jobs=${JOBS:-2}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export PYTHONDONTWRITEBYTECODE=1 COVERAGE_FILE="$work/coverage"
reports=''

# stage NAME COMMAND...: one pytest run; "no test selected" (5) is not a failure of the run.
stage() {
    name=$1
    shift
    echo "== $name"
    "$@" --junitxml="$work/$name.xml" -q
    case $? in
    0 | 1 | 5) reports="$reports $work/$name.xml" ;;
    *) reports="$reports failed:$name-stage-broke" ;;
    esac
}

case ${1:-all} in
all)
    stage parallel "$python" -m pytest -n "$jobs" --dist worksteal -m 'not serial and not real and not box'
    # What measures time or runs many processes: whole files, one on each of two cores.
    stage serial "$python" -m pytest -n 2 --dist loadfile -m 'serial and not real and not box'
    ;;
coverage)
    # Every branch of kauditd/core has to be taken by its own tests. The tracer makes them four times slower.
    stage coverage "$python" -m coverage run -m pytest -n "$jobs" --dist worksteal -m 'not serial and not real and not box' tests/core
    "$python" -m coverage combine -q && "$python" -m coverage report || reports="$reports failed:coverage-of-core-below-100-%"
    ;;
check)
    stage check "$python" -m pytest tests/test_linters.py tests/test_layers.py tests/test_budgets.py
    ;;
box)
    # Made before the tests, where progress is seen; what cannot be had is skipped by its tests, with the reason.
    "$python" -m tests.box.tree
    stage box "$python" -m pytest -ra -m box --timeout=180 tests/box
    ;;
real)
    # Built before the tests, where progress is seen; what cannot be built is skipped by its tests, with the reason.
    "$python" -m tests.real.build
    stage real "$python" -m pytest -ra -m real --timeout=600 tests/real
    ;;
*)
    echo "usage: $0 [all|check|coverage|box|real]" >&2
    exit 2
    ;;
esac

# shellcheck disable=SC2086  # report names hold no blanks: mktemp and the stage names see to that
"$python" -m tests.tally $reports
