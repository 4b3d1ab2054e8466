/* See snapshot.h. `lock` guards what the thread and the others share; the
 * file is the thread's alone while it runs. */
#include "store/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

#define LOG_EVERY_MS 60000

struct snapshot {
	struct snapshot_file *file;
	struct cache *cache;
	const char *path; /* as the settings have it, for the log */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	int64_t every_ms;
	int64_t written_ms; /* the last good file, monotonic; TIME_NEVER: there is none */
	bool is_started, is_stopping;
	int problem; /* errno of the last writing */
	int64_t logged_ms;
};

static struct snapshot_file *
open_file(const struct settings *settings)
{
	unsigned char key[SEAL_KEY_BYTES] = { 0 };

	/* The settings have checked that these are so many hex digits. */
	for (size_t i = 0; i < SEAL_KEY_BYTES; i++) {
		unsigned byte;
		if (sscanf(settings->snapshot.key + 2 * i, "%2x", &byte) == 1)
			key[i] = (unsigned char)byte;
	}
	struct snapshot_file *file = snapshot_file_new(settings->snapshot.file, key);
	OPENSSL_cleanse(key, sizeof(key));
	return file;
}

struct snapshot *
snapshot_new(const struct settings *settings, struct cache *cache)
{
	pthread_condattr_t attributes;

	if (settings->snapshot.file[0] == '\0')
		return NULL;
	struct snapshot *snapshot = alloc_zero(sizeof(*snapshot));
	snapshot->file = open_file(settings);
	snapshot->cache = cache;
	snapshot->path = settings->snapshot.file;
	snapshot->every_ms = settings->snapshot.every_ms;
	snapshot->written_ms = TIME_NEVER;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_mutex_init(&snapshot->lock, NULL);
	pthread_cond_init(&snapshot->work, &attributes);
	pthread_condattr_destroy(&attributes);
	return snapshot;
}

void
snapshot_free(struct snapshot *snapshot)
{
	if (snapshot == NULL)
		return;
	snapshot_file_free(snapshot->file);
	pthread_cond_destroy(&snapshot->work);
	pthread_mutex_destroy(&snapshot->lock);
	free(snapshot);
}

void
snapshot_load(struct snapshot *snapshot, const struct snapshot_taker *taker)
{
	struct snapshot_tally tally;
	char why[128];

	if (snapshot == NULL)
		return;
	switch (snapshot_file_load(snapshot->file, snapshot->cache, taker, &tally, why,
	    sizeof(why))) {
	case SNAPSHOT_LOADED:
		snapshot->written_ms = clock_mono_ms() - tally.age_ms;
		log_info("snapshot %s: %" PRId64 " entries, stale until refreshed", snapshot->path,
		    tally.entries);
		break;
	case SNAPSHOT_NONE:
		log_info("snapshot %s: none yet", snapshot->path);
		break;
	case SNAPSHOT_REFUSED:
		log_warn("snapshot %s refused: %s; starting without it. The next one moves it "
			 "aside, to the same name with .refused",
		    snapshot->path, why);
		break;
	}
}

/* ---- the thread ---- */

static void
write_now(struct snapshot *snapshot, bool is_last)
{
	struct snapshot_tally tally;
	int64_t started_ms = clock_mono_ms();
	int before = snapshot->problem;

	snapshot->problem = snapshot_file_write(snapshot->file, snapshot->cache, &tally);
	if (snapshot->problem != 0) {
		if (log_throttle(&snapshot->logged_ms, clock_mono_ms(), LOG_EVERY_MS))
			log_error("snapshot %s cannot be written: %s; the last good one stays",
			    snapshot->path,
			    snapshot->problem == EWOULDBLOCK ? "another sidecar writes it"
							     : strerror(snapshot->problem));
		return;
	}
	pthread_mutex_lock(&snapshot->lock);
	snapshot->written_ms = started_ms;
	pthread_mutex_unlock(&snapshot->lock);
	log_line(is_last || before != 0 ? LOG_INFO : LOG_DEBUG,
	    "snapshot %s: %" PRId64 " entries, %" PRId64 " bytes written in %" PRId64 " ms",
	    snapshot->path, tally.entries, tally.bytes, clock_mono_ms() - started_ms);
}

/* Under the lock. True when it is time to write, false when it is the end. */
static bool
wait_for_turn(struct snapshot *snapshot, int64_t since_ms)
{
	while (!snapshot->is_stopping) {
		int64_t at_ms = since_ms + snapshot->every_ms;
		if (clock_mono_ms() >= at_ms)
			return true;
		struct timespec until = { at_ms / 1000, at_ms % 1000 * 1000000 };
		pthread_cond_timedwait(&snapshot->work, &snapshot->lock, &until);
	}
	return false;
}

static void *
keep_on_disk(void *arg)
{
	struct snapshot *snapshot = arg;
	int64_t since_ms = clock_mono_ms();

	pthread_mutex_lock(&snapshot->lock);
	while (wait_for_turn(snapshot, since_ms)) {
		pthread_mutex_unlock(&snapshot->lock);
		since_ms = clock_mono_ms();
		write_now(snapshot, false);
		pthread_mutex_lock(&snapshot->lock);
	}
	pthread_mutex_unlock(&snapshot->lock);
	write_now(snapshot, true);
	return NULL;
}

/* Signals belong to the main thread. */
int
snapshot_start(struct snapshot *snapshot)
{
	sigset_t all, before;

	if (snapshot == NULL)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int problem = pthread_create(&snapshot->thread, NULL, keep_on_disk, snapshot);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	snapshot->is_started = problem == 0;
	return problem;
}

void
snapshot_set_every(struct snapshot *snapshot, int64_t every_ms)
{
	if (snapshot == NULL)
		return;
	pthread_mutex_lock(&snapshot->lock);
	snapshot->every_ms = every_ms;
	pthread_cond_signal(&snapshot->work);
	pthread_mutex_unlock(&snapshot->lock);
}

bool
snapshot_tell(struct snapshot *snapshot, int64_t now_ms, struct snapshot_facts *facts)
{
	if (snapshot == NULL)
		return false;
	pthread_mutex_lock(&snapshot->lock);
	facts->every_ms = snapshot->every_ms;
	int64_t written_ms = snapshot->written_ms;
	pthread_mutex_unlock(&snapshot->lock);
	int64_t age_ms = written_ms == TIME_NEVER ? -1 : now_ms - written_ms;
	/* A file from the future: the clock has been set back since. */
	facts->age_ms = written_ms != TIME_NEVER && age_ms < 0 ? 0 : age_ms;
	return true;
}

void
snapshot_stop(struct snapshot *snapshot)
{
	if (snapshot == NULL || !snapshot->is_started)
		return;
	pthread_mutex_lock(&snapshot->lock);
	snapshot->is_stopping = true;
	pthread_cond_signal(&snapshot->work);
	pthread_mutex_unlock(&snapshot->lock);
	pthread_join(snapshot->thread, NULL);
	snapshot->is_started = false;
}
