/* See redis_identity.h. */
#include "ladder/redis_identity.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"

struct redis_identity {
	char run_id[48]; /* "": none, or it did not say */
	pthread_mutex_t lock;
	char version[32]; /* under the lock; "": it did not say */
};

struct redis_identity *
redis_identity_new(void)
{
	struct redis_identity *identity = alloc_zero(sizeof(*identity));

	pthread_mutex_init(&identity->lock, NULL);
	return identity;
}

void
redis_identity_free(struct redis_identity *identity)
{
	if (identity == NULL)
		return;
	pthread_mutex_destroy(&identity->lock);
	free(identity);
}

/* The rest of the line that begins with `name`, "" where there is none. */
static void
read_field(struct slice info, const char *name, char *value, size_t size)
{
	const char *end = info.at + info.len;
	const char *at = memmem(info.at, info.len, name, strlen(name));
	size_t len = 0;

	for (at = at != NULL ? at + strlen(name) : end; at < end && len + 1 < size; at++) {
		if (*at == '\r' || *at == '\n')
			break;
		value[len++] = *at;
	}
	value[len] = '\0';
}

bool
redis_identity_note(struct redis_identity *identity, struct slice info)
{
	char run_id[sizeof(identity->run_id)], version[sizeof(identity->version)];

	read_field(info, "\nredis_version:", version, sizeof(version));
	if (version[0] != '\0') {
		pthread_mutex_lock(&identity->lock);
		memcpy(identity->version, version, sizeof(version));
		pthread_mutex_unlock(&identity->lock);
	}
	read_field(info, "\nrun_id:", run_id, sizeof(run_id));
	if (run_id[0] == '\0')
		return false;
	bool is_another = strcmp(run_id, identity->run_id) != 0;
	memcpy(identity->run_id, run_id, sizeof(run_id));
	return is_another;
}

void
redis_identity_version(struct redis_identity *identity, char *version, size_t size)
{
	pthread_mutex_lock(&identity->lock);
	snprintf(version, size, "%s", identity->version);
	pthread_mutex_unlock(&identity->lock);
}
