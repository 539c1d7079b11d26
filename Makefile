# A thin door: what a target does stands in hack/.
PREFIX  ?= /usr/local
DESTDIR ?=
# Where Podman's configuration is; by default /etc, or ~/.config for a PREFIX in the home directory.
SYSCONFDIR ?=
# The runtime that `make demo` runs.
RUNTIME ?= vzrun

.PHONY: help demo build test test-runc test-crun test-runc-sid test-crun-sid check audit fuzz bench install uninstall deb dist reproduce clean

help:
	@echo 'vzrun, an OCI runtime. Targets:'
	@echo '  make demo       build vzrun, make a bundle and run a container in it (root or not)'
	@echo '  make build      the static release binary: target/static/vzrun'
	@echo '  make test       unit tests, then the integration tests in a Debian root and in a VM (root, Debian)'
	@echo '  make test-runc  the same integration tests on runc; also test-crun, test-runc-sid, test-crun-sid'
	@echo '  make check      format, lints, documentation, layers, licences, file lengths'
	@echo '  make audit      published faults of the dependencies (cargo-deny, network)'
	@echo '  make fuzz       every fuzz target of fuzz/ for TIME seconds each, 600 by default (C++ compiler, kernel with seccomp)'
	@echo '  make bench      vzrun, crun, runc and the floor measured side by side (root, Debian)'
	@echo '  make install    binary, man pages, completions and the entry for Podman to $$(DESTDIR)$$(PREFIX), now $(DESTDIR)$(PREFIX)'
	@echo '  make uninstall  all that taken away again'
	@echo '  make deb        a Debian package in target/dist/'
	@echo '  make dist       a release there: sources, binary, package, SHA256SUMS'
	@echo '  make reproduce  the release of the last commit made twice, here and in a clone elsewhere: the same bytes'
	@echo '  make clean      remove target/ with all that the others made'

demo: build
	@hack/demo $(RUNTIME)

build:
	@hack/build vzrun

test:
	@hack/test vzrun

test-runc test-crun test-runc-sid test-crun-sid: test-%:
	@hack/test $*

check:
	@hack/check

audit:
	@hack/audit

fuzz:
	@hack/fuzz

bench:
	@hack/bench

install:
	@hack/install '$(DESTDIR)' '$(PREFIX)' '$(SYSCONFDIR)'

uninstall:
	@hack/install --remove '$(DESTDIR)' '$(PREFIX)' '$(SYSCONFDIR)'

deb:
	@hack/deb

dist:
	@hack/dist

reproduce:
	@hack/reproduce

clean:
	@hack/clean
