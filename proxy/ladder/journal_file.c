/*
 * See journal_file.h.
 *
 * `lock` guards everything but the descriptor, which only the file's own
 * thread replaces, and replaces under the lock: that thread may sync it
 * without. The owner's lock is taken before this one, never after it.
 */
#include "ladder/journal_file.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/log.h"
#include "ladder/journal_disk.h"

#define SYNC_EVERY_MS 50
#define RETRY_MS 1000 /* after a rewrite that failed */
#define LOG_EVERY_MS 10000
#define GROWN_TIMES 4     /* what is live: then it is written anew, */
#define GROWN_BYTES 65536 /* but not for less than this */

struct journal_file {
	struct journal_file_owner owner;
	char *path, *new_path, *directory;
	int fd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	size_t bytes; /* good ones; what the next record is appended to */
	size_t live_bytes;
	bool has_rubbish; /* behind `bytes`: part of a record, to be cut off first */
	bool is_unsynced, is_lagging, is_stopping;
	bool is_rewriting, is_rewrite_void;
	struct buf since; /* records appended while it is rewritten */
	int64_t retry_at_ms;
	int problem; /* errno of the last append; 0: it was written */
	int64_t logged_ms;
};

/* ---- writing ---- */

/* Half a record at the end is torn; with a whole one behind it, damage. */
static int
cut_rubbish(struct journal_file *file)
{
	if (file->has_rubbish && ftruncate(file->fd, (off_t)file->bytes) != 0)
		return errno;
	file->has_rubbish = false;
	return 0;
}

static int
append(struct journal_file *file, struct slice records)
{
	int problem = cut_rubbish(file);

	if (problem != 0)
		return problem;
	problem = disk_write(file->fd, records);
	if (problem == 0) {
		file->bytes += records.len;
		return 0;
	}
	file->has_rubbish = true;
	if (cut_rubbish(file) != 0)
		file->is_lagging = true;
	return problem;
}

static void
log_problem(struct journal_file *file, const char *what, int problem)
{
	if (log_throttle(&file->logged_ms, clock_mono_ms(), LOG_EVERY_MS))
		log_error("journal %s: %s: %s", file->path, what, strerror(problem));
}

/* Under the lock. */
static bool
wants_rewrite(const struct journal_file *file)
{
	return file->is_lagging || file->bytes > GROWN_BYTES + GROWN_TIMES * file->live_bytes;
}

bool
journal_file_append(struct journal_file *file, struct slice records, size_t live_bytes)
{
	pthread_mutex_lock(&file->lock);
	int before = file->problem;
	int problem = file->problem = append(file, records);
	if (problem == 0) {
		file->live_bytes = live_bytes;
		if (file->is_rewriting)
			buf_append_slice(&file->since, records);
		if (!file->is_unsynced || wants_rewrite(file))
			pthread_cond_signal(&file->work);
		file->is_unsynced = true;
	}
	pthread_mutex_unlock(&file->lock);

	if (problem != 0)
		log_problem(file, "writes to mapped keys that redis misses are refused", problem);
	else if (before != 0)
		log_info("journal %s: written again", file->path);
	return problem == 0;
}

void
journal_file_clear(struct journal_file *file)
{
	pthread_mutex_lock(&file->lock);
	file->live_bytes = 0;
	file->bytes = journal_file_start.len;
	file->has_rubbish = true;
	/* A rewrite under way may have copied keys that are over. */
	file->is_rewrite_void = file->is_rewriting;
	file->is_lagging = cut_rubbish(file) != 0;
	file->is_unsynced = true;
	pthread_cond_signal(&file->work);
	pthread_mutex_unlock(&file->lock);
}

void
journal_file_lag(struct journal_file *file)
{
	pthread_mutex_lock(&file->lock);
	file->is_lagging = true;
	pthread_cond_signal(&file->work);
	pthread_mutex_unlock(&file->lock);
}

int
journal_file_problem(struct journal_file *file)
{
	pthread_mutex_lock(&file->lock);
	int problem = file->problem;
	pthread_mutex_unlock(&file->lock);
	return problem;
}

/* ---- writing it anew ---- */

/* Piece by piece: workers need the owner's lock, too. */
static int
copy_live(const struct journal_file *file, int fd, size_t *bytes)
{
	struct buf records = BUF_EMPTY;
	size_t place = 0;
	bool has_more = true;
	int problem = 0;

	while (has_more && problem == 0) {
		has_more = file->owner.copy_live(&place, &records, file->owner.arg);
		problem = disk_write(fd, buf_slice(&records));
		*bytes += buf_len(&records);
		buf_reset(&records);
	}
	buf_free(&records);
	return problem != 0 ? problem : fsync(fd) != 0 ? errno : 0;
}

/*
 * A key may have been copied before or after a change that is in `since` as
 * well; the record that comes last is right in either case.
 */
static int
replace(struct journal_file *file, int fd, size_t bytes)
{
	int problem = disk_write(fd, buf_slice(&file->since));

	if (problem == 0 && rename(file->new_path, file->path) != 0)
		problem = errno;
	if (problem != 0)
		return problem;
	close(file->fd);
	file->fd = fd;
	file->bytes = bytes + buf_len(&file->since);
	file->has_rubbish = false;
	file->is_unsynced = true;
	return 0;
}

static bool
finish_rewrite(struct journal_file *file, int fd, size_t bytes, int *problem)
{
	bool is_replaced = false;

	pthread_mutex_lock(&file->lock);
	if (*problem == 0 && !file->is_rewrite_void) {
		*problem = replace(file, fd, bytes);
		is_replaced = *problem == 0;
	}
	file->is_rewriting = false;
	buf_free(&file->since);
	if (*problem != 0) {
		file->is_lagging = true;
		file->retry_at_ms = clock_mono_ms() + RETRY_MS;
	}
	pthread_mutex_unlock(&file->lock);
	return is_replaced;
}

static void
rewrite(struct journal_file *file)
{
	size_t bytes = journal_file_start.len;
	int problem;

	pthread_mutex_lock(&file->lock);
	file->is_rewriting = true;
	file->is_rewrite_void = file->is_lagging = false;
	pthread_mutex_unlock(&file->lock);

	int fd = journal_disk_make(file->new_path, &problem);
	if (problem == 0)
		problem = copy_live(file, fd, &bytes);
	if (finish_rewrite(file, fd, bytes, &problem)) {
		problem = disk_sync_directory(file->directory);
	} else if (fd >= 0) {
		close(fd);
		unlink(file->new_path);
	}
	if (problem != 0)
		log_problem(file, "cannot be written anew", problem);
}

/* ---- the thread ---- */

static void
sync_file(struct journal_file *file)
{
	if (fdatasync(file->fd) == 0)
		return;
	/* The kernel forgets what it could not write: only a new file helps. */
	log_problem(file, "cannot be synced", errno);
	journal_file_lag(file);
}

/* Under the lock. TIME_NEVER: until somebody signals. */
static void
wait_until(struct journal_file *file, int64_t until_ms)
{
	struct timespec until = { until_ms / 1000, until_ms % 1000 * 1000000 };

	if (until_ms == TIME_NEVER)
		pthread_cond_wait(&file->work, &file->lock);
	else
		pthread_cond_timedwait(&file->work, &file->lock, &until);
}

/* Under the lock, but for the time the disk needs. */
static void
work_once(struct journal_file *file)
{
	bool must_rewrite = wants_rewrite(file) && file->retry_at_ms <= clock_mono_ms();

	file->is_unsynced = false;
	pthread_mutex_unlock(&file->lock);
	if (must_rewrite)
		rewrite(file);
	sync_file(file);
	pthread_mutex_lock(&file->lock);
	int64_t pause_ms = clock_mono_ms() + SYNC_EVERY_MS;
	while (!file->is_stopping && clock_mono_ms() < pause_ms)
		wait_until(file, pause_ms);
}

static void *
keep_on_disk(void *arg)
{
	struct journal_file *file = arg;

	pthread_mutex_lock(&file->lock);
	while (!file->is_stopping) {
		if (file->is_unsynced ||
		    (wants_rewrite(file) && file->retry_at_ms <= clock_mono_ms()))
			work_once(file);
		else
			wait_until(file, wants_rewrite(file) ? file->retry_at_ms : TIME_NEVER);
	}
	pthread_mutex_unlock(&file->lock);
	return NULL;
}

static void
make_lock(struct journal_file *file)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_mutex_init(&file->lock, NULL);
	pthread_cond_init(&file->work, &attributes);
	pthread_condattr_destroy(&attributes);
}

/* Signals belong to the main thread. */
static int
start_thread(struct journal_file *file)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int problem = pthread_create(&file->thread, NULL, keep_on_disk, file);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return problem;
}

/* ---- opening and closing ---- */

static void
free_file(struct journal_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	pthread_cond_destroy(&file->work);
	pthread_mutex_destroy(&file->lock);
	buf_free(&file->since);
	free(file->path);
	free(file->new_path);
	free(file->directory);
	free(file);
}

/* All names are made from the file's real one: to rename over a symbolic link
 * would leave behind what it stands for. */
static bool
make_names(struct journal_file *file, const char *path)
{
	file->path = realpath(path, NULL);
	if (file->path == NULL)
		return false;
	size_t len = strlen(file->path);
	file->new_path = alloc(len + sizeof(".new"));
	memcpy(file->new_path, file->path, len);
	memcpy(file->new_path + len, ".new", sizeof(".new"));
	file->directory = alloc_text(file->path);
	strrchr(file->directory, '/')[1] = '\0';
	return true;
}

/* 0 or an errno. */
static int
start(struct journal_file *file, const char *path)
{
	if (!make_names(file, path) || fdatasync(file->fd) != 0)
		return errno;
	unlink(file->new_path); /* of a rewrite that was killed */
	int problem = disk_sync_directory(file->directory);
	return problem != 0 ? problem : start_thread(file);
}

struct journal_file *
journal_file_open(const char *path, const struct journal_file_owner *owner, char *error,
    size_t size)
{
	struct journal_file *file = alloc_zero(sizeof(*file));

	file->owner = *owner;
	make_lock(file);
	file->fd = journal_disk_open(path, error, size);
	if (file->fd < 0 ||
	    !journal_disk_load(file->fd, path, owner->on_record, owner->arg, &file->bytes, error,
		size)) {
		free_file(file);
		return NULL;
	}
	file->live_bytes = file->bytes; /* until the owner says */
	int problem = start(file, path);
	if (problem == 0)
		return file;
	snprintf(error, size, "[ladder] journal %s: %s", path, strerror(problem));
	free_file(file);
	return NULL;
}

void
journal_file_close(struct journal_file *file)
{
	if (file == NULL)
		return;
	pthread_mutex_lock(&file->lock);
	file->is_stopping = true;
	pthread_cond_signal(&file->work);
	pthread_mutex_unlock(&file->lock);
	pthread_join(file->thread, NULL);
	if (file->is_lagging)
		rewrite(file);
	sync_file(file);
	free_file(file);
}
