/*
 * What the service manager is told of this process: sd_notify's protocol,
 * one datagram a message to the socket that NOTIFY_SOCKET names. Without
 * that variable nothing is sent and no timer runs. Main thread.
 *
 * STATUS= follows the backends: "redis up, postgres down". WATCHDOG=1 goes
 * out while every worker's loop turns, where WATCHDOG_USEC asks for it: a
 * worker that hangs makes systemd start the process again.
 */
#ifndef SIDECAR_RUN_NOTIFY_H
#define SIDECAR_RUN_NOTIFY_H

#include "run/worker.h"

struct notify;

/* `census` and its workers must outlive it. Sends nothing yet; a socket that
 * cannot be had is said in the log once. */
struct notify *notify_new(struct event_base *base, const struct census *census,
    struct worker *const *workers);
void notify_free(struct notify *notify);

/* It serves; also the end of a reload. */
void notify_ready(struct notify *notify);
void notify_reloading(struct notify *notify);
/* SIGTERM has come: what is in flight is answered, then it ends. */
void notify_stopping(struct notify *notify);

/*
 * The address that NOTIFY_SOCKET means: a path, or with '@' first a name in
 * the abstract namespace. Returns its length for connect(); 0: it is neither,
 * or too long.
 */
struct sockaddr_un;
MUST_CHECK unsigned notify_address(const char *name, struct sockaddr_un *address);

#endif
