/*
 * What the load generator sends and how it judges the answers: keys, their
 * values (told by the key alone), requests and replies in bytes. No sockets.
 */
#ifndef SIDECAR_BENCH_TRAFFIC_H
#define SIDECAR_BENCH_TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYS_A_MGET 100
#define MAX_WAITING 4096 /* unanswered requests of one connection; a power of two */

enum mode { GET, MGET, SET, FILL, WARM, PROFILE };

struct options {
	int port, connections, pipeline;
	enum mode mode;
	bool is_memcached;
	int64_t keys, value_bytes;
	double seconds, rate, zipf;
	uint64_t seed;
	int pid;
};
extern struct options options;

struct waiting {
	int64_t key; /* of MGET: the first of many */
	int64_t due_ns;
};

struct connection {
	int fd;
	char *in, *out;
	size_t in_len, in_room, out_len, out_at, out_room;
	struct waiting queue[MAX_WAITING];
	unsigned head, tail;
};

/* Once, before anything else. */
void traffic_start(void);
/* Each key is asked for once: how many have been. */
int64_t traffic_keys_used(void);
/* Appends the next request to `out`, and notes what it waits for. */
void traffic_append_request(struct connection *c, int64_t due_ns);
/* Where the answer about this key at AT ends; NULL: not whole. */
const char *traffic_read_answer(const char *at, const char *end, int64_t key);

extern uint64_t traffic_errors, traffic_wrong; /* among the answers so far */

#endif
