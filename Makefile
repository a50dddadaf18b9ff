# Two commands: `make demo` and `make test`. Each sets up what it needs. Everything built is cached outside the tree.
SHELL := /bin/sh
PYTHON ?= python3
CACHE ?= $(or $(XDG_CACHE_HOME),$(or $(HOME),/tmp)/.cache)/kauditd
LOCK := $(shell cat requirements/build.txt requirements/dev.txt | sha256sum | cut -c1-12)
VENV ?= $(CACHE)/venv-$(LOCK)
PY := $(VENV)/bin/python
export PYTHONDONTWRITEBYTECODE := 1
export CACHE

.PHONY: help demo test check bench test-box test-real coverage openapi format venv show-python clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

venv: $(VENV)/.ready

$(VENV)/.ready:
	@echo "setting up $(VENV) (once, about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kauditd needs Python 3.11 or newer, found " + sys.version)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make a virtual environment: apt-get install python3-venv" >&2; exit 1; }
	@mkdir -p "$(CACHE)"
	@$(PYTHON) -m venv --clear "$(VENV)"
	@"$(VENV)/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	@"$(VENV)/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation --require-hashes -r requirements/dev.txt
	@touch $@

show-python:
	@echo "$(PY)"

demo: venv  ## the whole story on a simulated node, no root and no Kubernetes needed
	@$(PY) -m kauditd demo

test: venv  ## every test that needs nothing but Python
	@VENV="$(VENV)" tests/run.sh

check: venv  ## every linter: ruff, mypy strict, import contracts, shellcheck, and the budgets
	@VENV="$(VENV)" tests/run.sh check

coverage: venv  ## branch coverage of kauditd/core by its own tests, which must be 100 %
	@VENV="$(VENV)" tests/run.sh coverage

bench: venv  ## the figures of README.md, measured here
	@$(PY) -m tests.bench

test-box: venv  ## the API server as a systemd unit, in a booted Debian (needs root, systemd-container, mmdebstrap; first run about a minute)
	@VENV="$(VENV)" tests/run.sh box

test-real: venv  ## real kubeadm, kube-apiserver and etcd, built from Go modules (needs go >= 1.26; first run about 15 minutes)
	@VENV="$(VENV)" tests/run.sh real

openapi: venv  ## regenerate kauditd/api/openapi.json from the route table
	@$(PY) -m kauditd.api.openapi > kauditd/api/openapi.json.new && mv kauditd/api/openapi.json.new kauditd/api/openapi.json

format: venv  ## let ruff format and fix
	@$(VENV)/bin/ruff check --fix -q . ; $(VENV)/bin/ruff format -q .

clean:  ## remove what was built for this tree, cache included
	@rm -rf "$(VENV)" build *.egg-info
