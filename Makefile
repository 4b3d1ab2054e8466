# make         builds ./sidecar
# make run     serves on 127.0.0.1:6380, with private backends where none are configured
# make test    installs what is missing and runs every test
# make help    lists the rest

CC ?= gcc
PREFIX ?= /usr/local
VERSION := 0.1.0
# make V=1 shows the commands
Q := $(if $(V),,@)
BUILD ?= build
OPTIMIZE ?= -O2 -g

PACKAGES := libevent hiredis_ssl hiredis libpq inih libssl libcrypto
ifeq ($(shell pkg-config --exists $(PACKAGES) 'hiredis >= 1.1' 2>/dev/null && echo yes),yes)
PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) | sed 's,-I/usr/include/hiredis,,')
PACKAGE_LIBS := $(shell pkg-config --libs $(PACKAGES))
endif

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
CFLAGS_ALL = -std=c11 -D_GNU_SOURCE -DSIDECAR_VERSION='"$(VERSION)"' -Iinclude \
	$(PACKAGE_CFLAGS) $(WARNINGS) $(OPTIMIZE) -pthread $(CFLAGS)
LIBS = $(PACKAGE_LIBS) -pthread -lm

SOURCES := $(sort $(wildcard proxy/*/*.c))
OBJECTS := $(SOURCES:proxy/%.c=$(BUILD)/%.o)
TESTS := $(sort $(wildcard tests/unit/*/test_*.c))
TEST_PROGRAMS := $(TESTS:tests/unit/%.c=$(BUILD)/unit/%)
BINARY ?= sidecar
# Two at a time, where whoever called has not said how many.
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j2)

.PHONY: all run test load check sanitize deps install uninstall clean help unit format fuzz compat bench instructions clients page check-deploy drill

all:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory $(PARALLEL) $(BINARY)

$(BINARY): $(OBJECTS) $(BUILD)/main.o
	@echo "link $@"
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $^ $(LIBS) $(LDFLAGS)

$(BUILD)/%.o: proxy/%.c
	@mkdir -p $(@D)
	@echo "cc $<"
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# Every test program is linked with everything but main().
$(BUILD)/unit/%: tests/unit/%.c $(OBJECTS)
	@mkdir -p $(@D)
	@echo "cc $<"
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -o $@ $< $(OBJECTS) $(LIBS) $(LDFLAGS)

# Taken in by the assembler, which writes no .d file.
$(BUILD)/front/page.o: proxy/front/page/status.html

-include $(OBJECTS:.o=.d) $(BUILD)/main.d $(TEST_PROGRAMS:=.d)

## deps: install what building needs (apt)
deps:
	@deploy/deps.sh

## run: serve, with private demo backends where none are configured
run:
	@deploy/deps.sh run
	@$(MAKE) --no-print-directory $(PARALLEL) $(BINARY)
	@exec deploy/demo/run.sh

## drill: a minute of outages against private backends, which rung answers live; 0 when no read failed
drill:
	@deploy/deps.sh test
	@$(MAKE) --no-print-directory $(PARALLEL) $(BINARY)
	@exec deploy/demo/drill.sh

unit: $(TEST_PROGRAMS)

## test: install what is missing, run every test; the last line is "N passed, N failed"
test:
	@deploy/deps.sh test
	@$(MAKE) --no-print-directory $(PARALLEL) $(BINARY) unit
	@tests/run

## check: format, floors, lint, and unit tests without servers: seconds
check:
	@deploy/deps.sh test
	@tests/check/format
	@tests/check/floors
	@tests/check/lint
	@$(MAKE) --no-print-directory $(PARALLEL) $(BINARY) unit
	@tests/run unit

## format: rewrite the sources as .clang-format says
format:
	@find proxy include tests/unit -name '*.[ch]' -exec clang-format -i {} +

## sanitize: everything under ASan+UBSan, then under TSan
sanitize:
	@deploy/deps.sh test
	@tests/sanitize

## fuzz: the parsers under libFuzzer, a minute each
fuzz:
	@deploy/deps.sh test
	@tests/fuzz/run

## bench: the numbers in the README, measured beside redis-server; make bench ONLY=hits
bench: $(BUILD)/bench/load $(BUILD)/bench/floor $(BUILD)/bench/storm
	@deploy/deps.sh test
	@$(MAKE) --no-print-directory $(PARALLEL) $(BINARY)
	@/usr/bin/python3 tests/bench/side_by_side.py $(ONLY)
	@[ -n "$(ONLY)" ] || \
		/usr/bin/python3 -m pytest -p no:cacheprovider -q -s tests/integration/bench_measures.py

## load: the rollout, phase by phase: 10,000 to 300,000 users, up to 10,000 clients
load: $(BUILD)/bench/load
	@deploy/deps.sh test
	@$(MAKE) --no-print-directory $(PARALLEL) $(BINARY)
	@/usr/bin/python3 tests/bench/rollout.py $(PHASE)

$(BUILD)/bench/load: tests/bench/load.c tests/bench/traffic.c tests/bench/traffic.h
	@mkdir -p $(@D)
	@echo "link $@"
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -o $@ $(filter %.c,$^) -lm

$(BUILD)/bench/floor: tests/bench/floor.c
	@mkdir -p $(@D)
	@echo "link $@"
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -o $@ $< -levent

$(BUILD)/bench/storm: tests/bench/storm.c
	@mkdir -p $(@D)
	@echo "link $@"
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -o $@ $<

## instructions: what a request costs, counted by valgrind; fails when it has grown by more than 5 %
instructions:
	@deploy/deps.sh test
	@$(MAKE) --no-print-directory $(PARALLEL) $(BINARY)
	@tests/instructions/run

## page: builds the status page, which needs npm, and tests it in Chromium
page:
	@deploy/deps.sh test
	@proxy/front/page/make_page.py
	@$(MAKE) --no-print-directory $(PARALLEL) $(BINARY)
	@tests/run integration tests/integration/test_status_page.py

## clients: ioredis, node-redis and BullMQ against a sidecar; installs them with npm
clients:
	@deploy/deps.sh test
	@$(MAKE) --no-print-directory $(PARALLEL) $(BINARY)
	@/usr/bin/python3 -m pytest -p no:cacheprovider -q tests/integration/test_node_clients.py

## check-deploy: deploy/ against the schemas of its kinds, and the Dockerfile built by hand; needs npm and root
check-deploy:
	@deploy/deps.sh test
	@$(MAKE) --no-print-directory $(PARALLEL) $(BINARY)
	@tests/deploy/run

## compat: Redis's own test suite, directly and through a sidecar
compat:
	@deploy/deps.sh test
	@$(MAKE) --no-print-directory $(PARALLEL) $(BINARY)
	@tests/compat/run

$(BUILD)/man/%: deploy/man/%.in deploy/man/make $(BINARY)
	@mkdir -p $(@D)
	@echo "man $*"
	$(Q)deploy/man/make ./$(BINARY) $< >$@.new && mv $@.new $@

PLACE = $(DESTDIR)$(PREFIX)
INSTALLED := bin/sidecar share/man/man8/sidecar.8 share/man/man5/sidecar.ini.5 \
	share/sidecar/sidecar.ini share/sidecar/notify-reload.conf \
	lib/systemd/system/sidecar.service lib/sysusers.d/sidecar.conf

## install: program, man pages, example settings and systemd unit, into DESTDIR/PREFIX
install: $(BINARY) $(BUILD)/man/sidecar.8 $(BUILD)/man/sidecar.ini.5
	install -D -m 755 $(BINARY) $(PLACE)/bin/sidecar
	install -D -m 644 $(BUILD)/man/sidecar.8 $(PLACE)/share/man/man8/sidecar.8
	install -D -m 644 $(BUILD)/man/sidecar.ini.5 $(PLACE)/share/man/man5/sidecar.ini.5
	install -D -m 644 sidecar.ini $(PLACE)/share/sidecar/sidecar.ini
	install -D -m 644 deploy/systemd/notify-reload.conf $(PLACE)/share/sidecar/notify-reload.conf
	install -D -m 644 deploy/systemd/sysusers.conf $(PLACE)/lib/sysusers.d/sidecar.conf
	install -D -m 644 deploy/systemd/sidecar.service $(PLACE)/lib/systemd/system/sidecar.service
	sed -i 's,/usr/local,$(PREFIX),' $(PLACE)/lib/systemd/system/sidecar.service

## uninstall: takes away what install has put there
uninstall:
	rm -f $(INSTALLED:%=$(PLACE)/%)
	-rmdir $(PLACE)/share/sidecar

## clean: takes away what was built, but not var/
clean:
	rm -rf $(BUILD) build-* $(BINARY)

## help: this list
help:
	@echo 'make: builds ./sidecar; make V=1 shows the commands'
	@sed -n 's/^## /make /p' Makefile
