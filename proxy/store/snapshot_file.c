/* See snapshot_file.h. Reading it is snapshot_load.c's. */
#include "store/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/disk.h"
#include "store/snapshot_file_inside.h"

/* ---- names ---- */

static char *
name_beside(const char *path, const char *suffix)
{
	size_t size = strlen(path) + strlen(suffix) + 1;
	char *name = alloc(size);

	snprintf(name, size, "%s%s", path, suffix);
	return name;
}

struct snapshot_file *
snapshot_file_new(const char *path, const unsigned char key[SEAL_KEY_BYTES])
{
	struct snapshot_file *file = alloc_zero(sizeof(*file));
	/* To rename over a symbolic link would leave behind what it stands for. */
	char *real = realpath(path, NULL);

	file->path = real != NULL ? real : alloc_text(path);
	file->new_path = name_beside(file->path, ".new");
	file->refused_path = name_beside(file->path, ".refused");
	file->directory = alloc_text(file->path);
	char *slash = strrchr(file->directory, '/');
	if (slash != NULL)
		slash[1] = '\0';
	else
		snprintf(file->directory, 2, ".");
	memcpy(file->key, key, SEAL_KEY_BYTES);
	return file;
}

void
snapshot_file_free(struct snapshot_file *file)
{
	if (file == NULL)
		return;
	OPENSSL_cleanse(file->key, sizeof(file->key));
	free(file->path);
	free(file->new_path);
	free(file->refused_path);
	free(file->directory);
	free(file);
}

/* ---- from the cache ---- */

struct writer {
	int fd;
	int problem; /* the first errno */
	struct seal *seal;
	struct snapshot_now now;
	struct snapshot_tally *tally;
	struct buf keys; /* of the portion: keys and variants, one behind the other */
	struct cache_entry *entries;
	size_t count, room;
	struct buf plain, sealed;
};

/* Under a shard's lock: copies the key, and takes a reference to the value. */
static void
gather(const struct cache_entry *entry, void *arg)
{
	struct writer *writer = arg;

	if (!snapshot_wants(entry, writer->now.mono_ms))
		return;
	if (writer->count == writer->room) {
		writer->room = writer->room > 0 ? writer->room * 2 : 64;
		writer->entries =
		    alloc_again(writer->entries, writer->room * sizeof(*writer->entries));
	}
	writer->entries[writer->count++] = *entry;
	blob_ref(entry->value.bytes);
	buf_append_slice(&writer->keys, entry->key);
	buf_append_slice(&writer->keys, entry->variant);
}

static void
write_chunk(struct writer *writer, size_t len, bool is_last)
{
	struct slice plain = buf_slice(&writer->plain);

	seal_chunk(writer->seal, slice_make(plain.at, len), is_last, &writer->sealed);
	buf_take(&writer->plain, len);
	if (writer->problem == 0)
		writer->problem = disk_write(writer->fd, buf_slice(&writer->sealed));
	writer->tally->bytes += (int64_t)buf_len(&writer->sealed);
	buf_reset(&writer->sealed);
}

static void
write_portion(struct writer *writer)
{
	/* A lone empty key has nowhere to point to. */
	const char *at = buf_len(&writer->keys) > 0 ? buf_slice(&writer->keys).at : "";

	for (size_t i = 0; i < writer->count; i++) {
		struct cache_entry *entry = &writer->entries[i];
		entry->key.at = at;
		entry->variant.at = at + entry->key.len;
		at += entry->key.len + entry->variant.len;
		if (writer->problem == 0)
			snapshot_record_append(&writer->plain, entry, &writer->now);
		blob_unref(entry->value.bytes);
		/* More than a chunk stays: the last one may be short, but not empty
		 * while others are full. */
		while (buf_len(&writer->plain) > SEAL_CHUNK_BYTES)
			write_chunk(writer, SEAL_CHUNK_BYTES, false);
	}
	writer->tally->entries += (int64_t)writer->count;
	writer->count = 0;
	buf_reset(&writer->keys);
}

/* 0 or an errno. */
static int
write_entries(struct snapshot_file *file, struct cache *cache, int fd, struct snapshot_tally *tally)
{
	struct writer writer = {
		.fd = fd,
		.now = { clock_mono_ms(), clock_wall_ms() },
		.tally = tally,
	};
	struct buf head = BUF_EMPTY;
	size_t place = 0;
	bool has_more = true;

	writer.seal = seal_new(file->key, &head);
	writer.problem = disk_write(fd, buf_slice(&head));
	tally->bytes = (int64_t)buf_len(&head);
	buf_free(&head);
	while (has_more && writer.problem == 0) {
		has_more = cache_each_some(cache, &place, gather, &writer);
		write_portion(&writer);
	}
	write_chunk(&writer, buf_len(&writer.plain), true);
	seal_free(writer.seal);
	free(writer.entries);
	buf_free(&writer.keys);
	buf_free(&writer.plain);
	buf_free(&writer.sealed);
	return writer.problem;
}

/* ---- to the disk ---- */

/* What a killed writer has left there is written over. -1, and *problem. */
static int
open_new(const struct snapshot_file *file, int *problem)
{
	for (;;) {
		int fd = open(file->new_path,
		    O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
		*problem = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0 ? errno : 0;
		bool has_name = *problem == 0 && disk_has_name(fd, file->new_path);
		if (has_name && (ftruncate(fd, 0) != 0 || fchmod(fd, 0600) != 0))
			*problem = errno;
		if (has_name && *problem == 0)
			return fd;
		if (fd >= 0)
			close(fd);
		if (*problem != 0)
			return -1;
	}
}

static int
put_in_place(struct snapshot_file *file)
{
	struct stat there;

	if (lstat(file->path, &there) == 0 && !S_ISREG(there.st_mode))
		return EEXIST; /* /dev/null is not ours to replace */
	/* EEXIST: the first one that was refused tells more than a later one. */
	if (file->is_refused)
		(void)!renameat2(AT_FDCWD, file->path, AT_FDCWD, file->refused_path,
		    RENAME_NOREPLACE);
	if (rename(file->new_path, file->path) != 0)
		return errno;
	file->is_refused = false;
	return disk_sync_directory(file->directory);
}

int
snapshot_file_write(struct snapshot_file *file, struct cache *cache, struct snapshot_tally *tally)
{
	int problem;
	int fd = open_new(file, &problem);

	*tally = (struct snapshot_tally){ 0 };
	if (fd < 0)
		return problem;
	problem = write_entries(file, cache, fd, tally);
	if (problem == 0 && fsync(fd) != 0)
		problem = errno;
	if (problem == 0)
		problem = put_in_place(file);
	else
		unlink(file->new_path); /* a full disk needs the room */
	close(fd);
	return problem;
}
