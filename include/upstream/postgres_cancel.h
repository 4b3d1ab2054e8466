/*
 * Cancels queries on a thread of its own, because PQcancel() blocks for as
 * long as the other side likes. One thread and a short queue: a pooler that
 * hangs costs one hanging thread, never a heap of them.
 *
 * All calls and all callbacks on the owner's thread; callbacks come from the
 * event loop.
 */
#ifndef SIDECAR_UPSTREAM_POSTGRES_CANCEL_H
#define SIDECAR_UPSTREAM_POSTGRES_CANCEL_H

#include <libpq-fe.h>

#include "base/slice.h"

struct event_base;
struct canceller;
struct cancel_job;

/* The thread is started by the first job. */
struct canceller *canceller_new(struct event_base *base);
/* Does not wait for a cancel under way; done() is not called any more. */
void canceller_free(struct canceller *canceller);

/* Takes over `cancel`. done() is called when the server has taken note, or
 * cannot be reached. NULL when too many wait: nothing will be cancelled. */
MUST_CHECK struct cancel_job *canceller_ask(struct canceller *canceller, PGcancel *cancel,
    void (*done)(void *arg), void *arg);
/* The cancel goes on, but done() will not be called. Only before it was. */
void cancel_job_forget(struct cancel_job *job);

#endif
