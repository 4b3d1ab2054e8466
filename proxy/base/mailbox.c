/* See mailbox.h. */
#include "base/mailbox.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/slice.h"

struct mailbox {
	pthread_mutex_t lock; /* guards first, last, is_closed */
	struct letter *first, **last;
	bool is_closed;
	int wake_fd;
	struct event *wake;
};

static void
deliver_all(struct mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	struct letter *letter = mailbox->first;
	mailbox->first = NULL;
	mailbox->last = &mailbox->first;
	pthread_mutex_unlock(&mailbox->lock);

	while (letter != NULL) {
		struct letter *next = letter->next; /* deliver may free it */
		letter->deliver(letter);
		letter = next;
	}
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof(count));

	/* Read first: a letter posted from here on wakes us again. */
	(void)got, (void)what;
	deliver_all(arg);
}

struct mailbox *
mailbox_new(struct event_base *base)
{
	struct mailbox *mailbox = alloc_zero(sizeof(*mailbox));

	pthread_mutex_init(&mailbox->lock, NULL);
	mailbox->last = &mailbox->first;
	mailbox->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (mailbox->wake_fd < 0)
		abort(); /* at start only; without it no thread could be told anything */
	mailbox->wake = event_new(base, mailbox->wake_fd, EV_READ | EV_PERSIST, on_wake, mailbox);
	event_add(mailbox->wake, NULL);
	return mailbox;
}

void
mailbox_free(struct mailbox *mailbox)
{
	if (mailbox == NULL)
		return;
	while (mailbox->first != NULL) /* a letter may bring another */
		deliver_all(mailbox);
	event_free(mailbox->wake);
	close(mailbox->wake_fd);
	pthread_mutex_destroy(&mailbox->lock);
	free(mailbox);
}

static bool
post(struct mailbox *mailbox, struct letter *first, struct letter *last, bool may_refuse)
{
	last->next = NULL;
	pthread_mutex_lock(&mailbox->lock);
	bool is_taken = !(may_refuse && mailbox->is_closed);
	bool was_empty = mailbox->first == NULL;
	if (is_taken) {
		*mailbox->last = first;
		mailbox->last = &last->next;
	}
	pthread_mutex_unlock(&mailbox->lock);

	if (is_taken && was_empty) {
		uint64_t one = 1;
		ssize_t put = write(mailbox->wake_fd, &one, sizeof(one));
		(void)put; /* EAGAIN: 2^64-2 wakes are pending already */
	}
	return is_taken;
}

void
mailbox_post(struct mailbox *mailbox, struct letter *letter)
{
	post(mailbox, letter, letter, false);
}

void
mailbox_post_all(struct mailbox *mailbox, struct letter *first)
{
	struct letter *last = first;

	while (last->next != NULL)
		last = last->next;
	post(mailbox, first, last, false);
}

bool
mailbox_try_post(struct mailbox *mailbox, struct letter *letter)
{
	return post(mailbox, letter, letter, true);
}

void
mailbox_close(struct mailbox *mailbox)
{
	bool is_empty;

	do {
		deliver_all(mailbox);
		pthread_mutex_lock(&mailbox->lock);
		is_empty = mailbox->first == NULL; /* a letter may bring another */
		mailbox->is_closed = is_empty;
		pthread_mutex_unlock(&mailbox->lock);
	} while (!is_empty);
}
