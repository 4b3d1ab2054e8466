/*
 * Letters between threads that each run an event loop. A letter is part of
 * the sender's own struct: posting allocates nothing and cannot fail.
 *
 * Any thread posts; the owner's loop delivers, in the order of posting, from
 * a later loop turn. One eventfd write wakes the owner for as many letters as
 * have come meanwhile.
 */
#ifndef SIDECAR_BASE_MAILBOX_H
#define SIDECAR_BASE_MAILBOX_H

#include "base/slice.h"

struct event_base;
struct mailbox;

struct letter {
	struct letter *next;
	void (*deliver)(struct letter *letter); /* owns the letter from then on */
};

struct mailbox *mailbox_new(struct event_base *base);
/* What was posted and not delivered is delivered before this returns. */
void mailbox_free(struct mailbox *mailbox);
void mailbox_post(struct mailbox *mailbox, struct letter *letter);
/* FIRST and what hangs on its `next`: delivered together, in one turn. */
void mailbox_post_all(struct mailbox *mailbox, struct letter *first);

/* For letters that must not be left lying when a thread ends: false, and not
 * taken, once the owner has closed its mailbox. */
MUST_CHECK bool mailbox_try_post(struct mailbox *mailbox, struct letter *letter);
/* The owner's loop has ended: delivers what there is, then refuses
 * mailbox_try_post(). */
void mailbox_close(struct mailbox *mailbox);

#endif
