/*
 * What the load generator sends and how it judges the answers: keys, their
 * values (told by the key alone), requests and replies in bytes. No sockets.
 */
#ifndef SIDECAR_BENCH_TRAFFIC_H
#define SIDECAR_BENCH_TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_WAITING 4096 /* unanswered requests of one connection; a power of two */

enum mode { GET, MGET, SET, FILL, WARM, PROFILE };

struct options {
	enum mode mode;
	bool is_memcached;
	int64_t port, pid;
	int64_t connections, pipeline, sources; /* addresses: 127.0.0.1 and following */
	int64_t first_key, keys, key_bytes, value_bytes, keys_a_mget;
	int64_t check_every; /* one answer of so many is compared, of the others the length */
	double seconds, rate, zipf;
	uint64_t seed;
};
extern struct options options;

struct waiting {
	int64_t key; /* of MGET: the first of many */
	int64_t due_ns;
};

struct connection {
	int fd;
	char *in, *out;
	const char *ready; /* behind `out`: a request that is sent from where it was made */
	size_t ready_len;
	size_t unseen; /* of an answer that is taken off the socket unread */
	size_t in_len, in_room, out_len, out_at, out_room;
	struct waiting *queue;
	unsigned head, tail; /* modulo traffic_queue_room */
};

/* Once, before anything else. */
void traffic_start(void);
/* FILL and WARM ask for each key once: the next one. */
int64_t traffic_next_key(void);
/* Appends the next request to `out`, and notes what it waits for. */
void traffic_append_request(struct connection *c, int64_t due_ns);
/* Where the answer about this key at AT ends; NULL: not whole. */
const char *traffic_read_answer(const char *at, const char *end, int64_t key);

/* How long the next answer will be, where nobody wants to see it; 0: it is to be
 * read. Then traffic_skip_answer() when it has come. */
size_t traffic_unseen_bytes(void);
void traffic_skip_answer(void);

extern unsigned traffic_queue_room; /* requests of a connection that may wait; a power of two */
extern uint64_t traffic_errors, traffic_wrong; /* among the answers so far */

#endif
