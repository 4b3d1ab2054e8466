/*
 * See postgres_cancel.h. The canceller has two owners, its maker and its
 * thread; who leaves last frees it, so that nobody ever waits for a thread
 * which hangs in PQcancel().
 */
#include "upstream/postgres_cancel.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/mailbox.h"

#define MAX_WAITING 16

struct cancel_job {
	struct letter letter; /* back to the owner's thread */
	struct cancel_job *next;
	PGcancel *cancel;
	void (*done)(void *arg); /* owner's thread only; NULL: forgotten */
	void *arg;
};

struct canceller {
	pthread_mutex_t lock; /* guards all but has_thread */
	pthread_cond_t wake;
	struct mailbox *mailbox; /* NULL: the maker has left */
	struct cancel_job *first, **last;
	int waiting;
	int owners;
	bool has_thread;
};

static void
job_free(struct cancel_job *job)
{
	PQfreeCancel(job->cancel);
	free(job);
}

static void
deliver(struct letter *letter)
{
	struct cancel_job *job = (struct cancel_job *)letter; /* its first member */
	void (*done)(void *arg) = job->done;
	void *arg = job->arg;

	job_free(job);
	if (done != NULL)
		done(arg);
}

/* The lock is held, and given up. */
static void
leave(struct canceller *canceller)
{
	bool is_last = --canceller->owners == 0;

	pthread_mutex_unlock(&canceller->lock);
	if (!is_last)
		return;
	pthread_cond_destroy(&canceller->wake);
	pthread_mutex_destroy(&canceller->lock);
	free(canceller);
}

/* The next job, or NULL when it is time to leave; the lock is held. */
static struct cancel_job *
wait_for_job(struct canceller *canceller)
{
	while (canceller->first == NULL && canceller->mailbox != NULL)
		pthread_cond_wait(&canceller->wake, &canceller->lock);
	struct cancel_job *job = canceller->first;
	if (job == NULL)
		return NULL;
	canceller->first = job->next;
	if (canceller->first == NULL)
		canceller->last = &canceller->first;
	canceller->waiting--;
	return job;
}

static void *
run(void *arg)
{
	struct canceller *canceller = arg;
	struct cancel_job *job;

	pthread_mutex_lock(&canceller->lock);
	while ((job = wait_for_job(canceller)) != NULL) {
		char error[256];
		pthread_mutex_unlock(&canceller->lock);
		PQcancel(job->cancel, error, sizeof(error));
		pthread_mutex_lock(&canceller->lock);
		if (canceller->mailbox != NULL)
			mailbox_post(canceller->mailbox, &job->letter);
		else
			job_free(job);
	}
	leave(canceller);
	return NULL;
}

struct canceller *
canceller_new(struct event_base *base)
{
	struct canceller *canceller = alloc_zero(sizeof(*canceller));

	pthread_mutex_init(&canceller->lock, NULL);
	pthread_cond_init(&canceller->wake, NULL);
	canceller->mailbox = mailbox_new(base);
	canceller->last = &canceller->first;
	canceller->owners = 1;
	return canceller;
}

void
canceller_free(struct canceller *canceller)
{
	if (canceller == NULL)
		return;
	pthread_mutex_lock(&canceller->lock);
	struct mailbox *mailbox = canceller->mailbox;
	canceller->mailbox = NULL;
	while (canceller->first != NULL) {
		struct cancel_job *job = canceller->first;
		canceller->first = job->next;
		job_free(job);
	}
	canceller->last = &canceller->first;
	pthread_cond_signal(&canceller->wake);
	leave(canceller);
	/* What lies in it was forgotten by the connections, freed before us. */
	mailbox_free(mailbox);
}

/* Signals belong to the main thread; SIGPIPE must not end us here either. */
static bool
start_thread(struct canceller *canceller)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	canceller->owners++;
	bool is_running = pthread_create(&thread, &attributes, run, canceller) == 0;
	canceller->owners -= !is_running;
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return is_running;
}

struct cancel_job *
canceller_ask(struct canceller *canceller, PGcancel *cancel, void (*done)(void *arg), void *arg)
{
	struct cancel_job *job = NULL;

	pthread_mutex_lock(&canceller->lock);
	if (!canceller->has_thread)
		canceller->has_thread = start_thread(canceller);
	if (cancel != NULL && canceller->has_thread && canceller->waiting < MAX_WAITING) {
		job = alloc_zero(sizeof(*job));
		*job = (struct cancel_job){ .cancel = cancel, .done = done, .arg = arg };
		job->letter.deliver = deliver;
		*canceller->last = job;
		canceller->last = &job->next;
		canceller->waiting++;
		pthread_cond_signal(&canceller->wake);
	}
	pthread_mutex_unlock(&canceller->lock);
	if (job == NULL)
		PQfreeCancel(cancel);
	return job;
}

void
cancel_job_forget(struct cancel_job *job)
{
	job->done = NULL;
}
