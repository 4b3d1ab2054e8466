/* See journal_disk.h. */
#include "ladder/journal_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/disk.h"
#include "base/log.h"

/* ---- opening ---- */

static const char *
problem_text(int problem)
{
	return problem == EWOULDBLOCK ? "another sidecar uses it" : strerror(problem);
}

static int
fail_to_open(int fd, const char *path, const char *reason, char *error, size_t size)
{
	snprintf(error, size, "[ladder] journal %s: %s", path, reason);
	if (fd >= 0)
		close(fd);
	return -1;
}

int
journal_disk_open(const char *path, char *error, size_t size)
{
	struct stat about;

	for (;;) {
		int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC, 0600);
		if (fd < 0 || fstat(fd, &about) != 0)
			return fail_to_open(fd, path, strerror(errno), error, size);
		if (!S_ISREG(about.st_mode))
			return fail_to_open(fd, path, "not a regular file", error, size);
		if (flock(fd, LOCK_EX | LOCK_NB) != 0)
			return fail_to_open(fd, path, problem_text(errno), error, size);
		if (disk_has_name(fd, path))
			return fd;
		close(fd);
	}
}

int
journal_disk_make(const char *path, int *problem)
{
	unlink(path);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);

	*problem = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0 ? errno
							       : disk_write(fd, journal_file_start);
	if (*problem == 0 || fd < 0)
		return fd;
	close(fd);
	unlink(path);
	return -1;
}

/* ---- reading ---- */

/* Also one whose first write was cut short. */
static bool
is_new(struct slice file)
{
	while (file.len > 0 && file.at[file.len - 1] == '\0')
		file.len--;
	return file.len == 0 ||
	    (file.len < journal_file_start.len && slice_starts(journal_file_start, file));
}

/* How much of the file is good; false for damage. */
static bool
read_records(struct slice file, journal_record_fn on_record, void *arg, size_t *bytes)
{
	struct slice rest =
	    slice_make(file.at + journal_file_start.len, file.len - journal_file_start.len);
	enum journal_kind kind;
	struct slice key;
	enum journal_read read;

	while ((read = journal_record_read(&rest, &kind, &key)) == RECORD_READ)
		on_record(kind, key, arg);
	*bytes = file.len - rest.len;
	return read != RECORD_DAMAGED;
}

static bool
read_file(struct slice file, journal_record_fn on_record, void *arg, size_t *bytes, char *error,
    size_t size)
{
	*bytes = 0;
	if (is_new(file))
		return true;
	if (!slice_starts(file, journal_file_start)) {
		snprintf(error, size,
		    "not a journal of this version of sidecar; it was left alone");
		return false;
	}
	if (read_records(file, on_record, arg, bytes))
		return true;
	snprintf(error, size,
	    "damaged at byte %zu of %zu; it was left alone. It says which keys "
	    "in redis are stale: remove the mapped keys there, then move it away",
	    *bytes, file.len);
	return false;
}

/* Ends the file where its good part ends. */
static int
make_ready(int fd, size_t *bytes, size_t file_bytes)
{
	if (*bytes < file_bytes && ftruncate(fd, (off_t)*bytes) != 0)
		return errno;
	if (*bytes > 0)
		return 0;
	*bytes = journal_file_start.len;
	return disk_write(fd, journal_file_start);
}

bool
journal_disk_load(int fd, const char *path, journal_record_fn on_record, void *arg, size_t *bytes,
    char *error, size_t size)
{
	char reason[256];
	struct stat about;
	void *at = NULL;

	if (fstat(fd, &about) != 0 || fchmod(fd, 0600) != 0 ||
	    (about.st_size > 0 &&
		(at = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) ==
		    MAP_FAILED))
		return fail_to_open(-1, path, strerror(errno), error, size) == 0;

	struct slice file = { at, (size_t)about.st_size };
	bool is_good = read_file(file, on_record, arg, bytes, reason, sizeof(reason));
	if (at != NULL)
		munmap(at, file.len);
	if (!is_good)
		return fail_to_open(-1, path, reason, error, size) == 0;
	if (*bytes < file.len)
		log_info("journal %s: its last record was cut short by a crash, and never "
			 "acknowledged: ignored",
		    path);
	int problem = make_ready(fd, bytes, file.len);
	if (problem != 0)
		fail_to_open(-1, path, strerror(problem), error, size);
	return problem == 0;
}
