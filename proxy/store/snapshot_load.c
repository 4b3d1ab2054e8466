/* Reading a snapshot: see snapshot_file.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/snapshot_file_inside.h"

struct reader {
	int fd;
	size_t left; /* bytes of the file still to be read */
	struct seal *seal;
	struct snapshot_now now;
	const struct snapshot_taker *taker;
	struct snapshot_tally *tally;
	struct cache *cache; /* NULL: only to see whether it is good */
	struct buf sealed, plain;
	const char *why;
};

static bool
blame(struct reader *reader, const char *why)
{
	reader->why = why;
	return false;
}

/* The next `len` bytes into `sealed`. */
static bool
read_some(struct reader *reader, size_t len)
{
	buf_reset(&reader->sealed);
	while (buf_len(&reader->sealed) < len) {
		size_t wanted = len - buf_len(&reader->sealed);
		ssize_t got = read(reader->fd, buf_reserve(&reader->sealed, wanted), wanted);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return blame(reader, got < 0 ? strerror(errno) : "it is cut short");
		buf_added(&reader->sealed, (size_t)got);
	}
	reader->left -= len;
	return true;
}

static bool
read_head(struct reader *reader, const struct snapshot_file *file)
{
	size_t len = seal_head_bytes();

	if (!read_some(reader, reader->left < len ? reader->left : len))
		return false;
	reader->seal = seal_open(file->key, buf_slice(&reader->sealed), &reader->why);
	return reader->seal != NULL;
}

/* ---- entries ---- */

static void
take_entry(struct reader *reader, struct cache_entry *entry, struct slice bytes)
{
	struct cache_value *value = &entry->value;
	const struct snapshot_taker *taker = reader->taker;

	if (reader->now.mono_ms >= value->stale_until_ms ||
	    reader->now.mono_ms >= value->valid_until_ms)
		return;
	if (taker->wants != NULL && !taker->wants(entry->key, taker->arg))
		return;
	struct cache_lease lease = cache_lease(reader->cache, entry->key);
	value->bytes = blob_new(bytes);
	if (cache_fill_variant(reader->cache, entry->key, entry->variant, &lease, value))
		reader->tally->entries++;
	cache_value_release(value);
}

/* All records that are whole by now. */
static bool
take_records(struct reader *reader)
{
	struct slice rest = buf_slice(&reader->plain), bytes;
	struct cache_entry entry;
	enum snapshot_read read;

	while ((read = snapshot_record_read(&rest, &reader->now, reader->taker->max_stale_ms,
		    &entry, &bytes)) == SNAPSHOT_READ) {
		if (reader->cache != NULL)
			take_entry(reader, &entry, bytes);
	}
	buf_take(&reader->plain, buf_len(&reader->plain) - rest.len);
	return read == SNAPSHOT_PARTIAL || blame(reader, "it is damaged");
}

static bool
read_chunks(struct reader *reader)
{
	bool is_last = false;

	while (!is_last) {
		size_t len = SEAL_CHUNK_BYTES + SEAL_TAG_BYTES;
		is_last = reader->left <= len;
		if (!read_some(reader, is_last ? reader->left : len))
			return false;
		if (!seal_open_chunk(reader->seal, buf_slice(&reader->sealed), is_last,
			&reader->plain))
			return blame(reader, "it is damaged or cut short");
		if (!take_records(reader))
			return false;
	}
	return buf_len(&reader->plain) == 0 || blame(reader, "it is damaged");
}

/* ---- the file ---- */

/* From its first byte to its last; `cache` NULL: keeps nothing. */
static bool
read_through(const struct snapshot_file *file, int fd, size_t size, struct cache *cache,
    const struct snapshot_taker *taker, struct snapshot_tally *tally, const char **why)
{
	struct reader reader = {
		.fd = fd,
		.left = size,
		.now = { clock_mono_ms(), clock_wall_ms() },
		.taker = taker,
		.tally = tally,
		.cache = cache,
	};

	bool is_good = lseek(fd, 0, SEEK_SET) == 0 || blame(&reader, strerror(errno));
	is_good = is_good && read_head(&reader, file) && read_chunks(&reader);
	seal_free(reader.seal);
	buf_free(&reader.sealed);
	buf_free(&reader.plain);
	*why = reader.why;
	return is_good;
}

static const char *
load(const struct snapshot_file *file, int fd, struct cache *cache,
    const struct snapshot_taker *taker, struct snapshot_tally *tally)
{
	struct stat about;
	const char *why = NULL;

	if (fstat(fd, &about) != 0)
		return strerror(errno);
	if (!S_ISREG(about.st_mode))
		return "it is not a regular file";
	tally->bytes = about.st_size;
	tally->age_ms = clock_wall_ms() - (int64_t)about.st_mtime * 1000;
	size_t size = (size_t)about.st_size;
	if (read_through(file, fd, size, NULL, taker, tally, &why) &&
	    !read_through(file, fd, size, cache, taker, tally, &why))
		cache_drop_all(cache); /* the disk has changed its mind */
	return why;
}

enum snapshot_outcome
snapshot_file_load(struct snapshot_file *file, struct cache *cache,
    const struct snapshot_taker *taker, struct snapshot_tally *tally, char *why, size_t size)
{
	const char *reason;
	int fd = open(file->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	*tally = (struct snapshot_tally){ 0 };
	if (fd < 0 && errno == ENOENT)
		return SNAPSHOT_NONE;
	reason = fd < 0 ? strerror(errno) : load(file, fd, cache, taker, tally);
	if (fd >= 0)
		close(fd);
	file->is_refused = reason != NULL;
	if (reason != NULL)
		snprintf(why, size, "%s", reason);
	return reason != NULL ? SNAPSHOT_REFUSED : SNAPSHOT_LOADED;
}
