/* See limit_gate.h. */
#include "front/limit_gate.h"

#include <ctype.h>
#include <netinet/in.h>

#include "base/hash.h"
#include "front/client_inside.h"
#include "front/session.h"
#include "ladder/limits.h"

#define UUID_LEN 36

/* ---- who ---- */

/* An IPv4 address, or the /64 of an IPv6 one: whoever has one address of that
 * has all of them. */
static uint64_t
peer_of(const struct client *client)
{
	const char *ip = (const char *)client->peer.ip;
	bool is_v4_in_v6 = client->peer.kind == PEER_V6 &&
	    IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)client->peer.ip);

	uint64_t who = client->peer.kind == PEER_V6 && !is_v4_in_v6
	    ? hash_bytes(slice_make(ip, 8))
	    : hash_bytes(slice_make(is_v4_in_v6 ? ip + 12 : ip, 4));
	return who != 0 ? who : 1;
}

/* The key's hash where that says the same: it is known already. One row has
 * one name, and Postgres takes a uuid in either case. */
static uint64_t
user_of(const struct map *map, struct slice id, uint64_t key_hash)
{
	char lower[UUID_LEN];

	if (map->is_user_by_key)
		return key_hash;
	if (map->id_type != ID_UUID || id.len != UUID_LEN)
		return hash_bytes(id);
	for (size_t i = 0; i < UUID_LEN; i++)
		lower[i] = (char)tolower((unsigned char)id.at[i]);
	return hash_bytes(slice_make(lower, UUID_LEN));
}

/* ---- no ---- */

static struct limits *
limits_of(const struct client *client)
{
	return client->front->ladder->backends->limits;
}

/* One clock for all that a turn of the loop has brought. */
static int64_t
now_ns(const struct client *client)
{
	(void)front_now_ms(client->front);
	return client->front->now_us * 1000;
}

static void
refuse(struct client *client, enum limit_scope scope, int64_t retry_ns)
{
	counter_add(&client->front->metrics->limited[scope], 1);
	limits_refuse(limits_of(client), scope, retry_ns, client_reply(client));
}

/* In a session the refusal has its place behind Redis's replies. */
static enum limit_verdict
refuse_in_order(struct client *client, enum limit_scope scope, int64_t retry_ns)
{
	if (client_redis_session(client) != NULL && !client_is_quiet(client))
		return LIMIT_LATER;
	refuse(client, scope, retry_ns);
	return LIMIT_REFUSED;
}

static bool
is_in_multi(const struct client *client)
{
	const struct session *session = client_redis_session(client);

	return session != NULL && session_state_of(session)->is_in_multi;
}

enum limit_verdict
limit_gate_of_peer(struct client *client)
{
	struct client_session *session = client_session(client);
	int64_t retry_ns;

	if (client->peer.is_local || session->is_peer_counted)
		return LIMIT_PASSES;
	if (!limits_allow(limits_of(client), LIMIT_PER_IP, peer_of(client), now_ns(client),
		&retry_ns) &&
	    !is_in_multi(client))
		return refuse_in_order(client, LIMIT_PER_IP, retry_ns);
	session->is_peer_counted = true;
	return LIMIT_PASSES;
}

void
limit_gate_done(struct client *client)
{
	struct client_session *session = client_session(client);

	session->is_peer_counted = session->is_user_counted = false;
}

/* ---- keys ---- */

bool
limit_gate_refuses_key(struct client *client, const struct map *map, struct slice id,
    uint64_t key_hash)
{
	struct limits *limits = limits_of(client);
	int64_t retry_ns;

	if (map == NULL || !map->settings->limit || client->session.is_user_counted ||
	    !limits_is_on(limits, LIMIT_PER_USER))
		return false;
	client->session.is_user_counted = limits_allow(limits, LIMIT_PER_USER,
	    user_of(map, id, key_hash), now_ns(client), &retry_ns);
	if (!client->session.is_user_counted)
		refuse(client, LIMIT_PER_USER, retry_ns);
	return !client->session.is_user_counted;
}

bool
limit_gate_refuses_get(struct client *client, const struct map *map, struct slice id,
    uint64_t key_hash)
{
	return limit_gate_of_peer(client) != LIMIT_PASSES ||
	    limit_gate_refuses_key(client, map, id, key_hash);
}

/* Of one command with several keys. */
struct tally {
	struct limits *limits;
	const struct maps *maps;
	int64_t now_ns, retry_ns;
	size_t allowed, refused;
};

static void
count_key(struct slice key, void *arg)
{
	struct tally *tally = arg;
	struct slice id;
	int64_t retry_ns;
	const struct map *map = maps_find(tally->maps, key, &id);

	if (map == NULL || !map->settings->limit)
		return;
	if (limits_allow(tally->limits, LIMIT_PER_USER, user_of(map, id, cache_hash(key)),
		tally->now_ns, &retry_ns)) {
		tally->allowed++;
		return;
	}
	if (tally->refused == 0 || retry_ns < tally->retry_ns)
		tally->retry_ns = retry_ns;
	tally->refused++;
}

static struct tally
tally_of(const struct client *client)
{
	const struct ladder_context *ladder = front_ladder(client_front(client));

	return (struct tally){
		.limits = ladder->backends->limits,
		.maps = ladder->rules->maps,
		.now_ns = now_ns(client),
	};
}

static bool
is_over(const struct tally *tally)
{
	return tally->refused > 0 && tally->allowed == 0;
}

bool
limit_gate_refuses_keys(struct client *client, const struct slice *keys, size_t count)
{
	if (!limits_is_on(limits_of(client), LIMIT_PER_USER))
		return false;
	struct tally tally = tally_of(client);
	for (size_t i = 0; i < count; i++)
		count_key(keys[i], &tally);
	if (!is_over(&tally))
		return false;
	refuse(client, LIMIT_PER_USER, tally.retry_ns);
	return true;
}

static void
count_command(const struct request_parser *parser, const struct command_info *info,
    struct tally *tally)
{
	enum command_class class = info != NULL ? info->class : COMMAND_WRITE;
	size_t words = class == COMMAND_READ_KEY && parser->argc > 2 ? 2 : parser->argc;

	if (class == COMMAND_WRITE || class == COMMAND_SESSION)
		command_each_written_key(info, parser->argv, parser->argc, count_key, tally);
	else if (class == COMMAND_READ_KEY || class == COMMAND_READ || class == COMMAND_READ_MANY)
		for (size_t i = 1; i < words; i++)
			count_key(parser->argv[i], tally);
}

enum limit_verdict
limit_gate_of_command(struct client *client, const struct request_parser *parser,
    const struct command_info *info)
{
	struct client_session *session = client_session(client);
	const struct session *redis = client_redis_session(client);

	/* Users are known by maps, and maps are about database 0. */
	if (session->is_user_counted || client_settings(client)->map_count == 0 ||
	    !limits_is_on(limits_of(client), LIMIT_PER_USER) ||
	    (redis != NULL && session_state_of(redis)->database != 0))
		return LIMIT_PASSES;
	struct tally tally = tally_of(client);
	count_command(parser, info, &tally);
	if (is_over(&tally) && !is_in_multi(client))
		return refuse_in_order(client, LIMIT_PER_USER, tally.retry_ns);
	session->is_user_counted = true;
	return LIMIT_PASSES;
}
