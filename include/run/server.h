/*
 * The whole process after its settings are known: makes the parts, starts
 * the threads, serves until SIGTERM or SIGINT, drains, ends.
 *
 *   main thread: listeners, signals, admin port
 *   keeper:      Postgres pool, Redis probe, journal
 *   workers:     clients, links to Redis
 */
#ifndef SIDECAR_RUN_SERVER_H
#define SIDECAR_RUN_SERVER_H

#include "run/arguments.h"

/*
 * Blocks until the end. Takes over `settings`; `arguments` must outlive it,
 * for reloads. Returns the exit code: 0, EXIT_CANNOT_START, EXIT_BAD_USAGE.
 */
int server_run(struct settings *settings, const struct arguments *arguments);

#endif
