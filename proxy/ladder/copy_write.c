/* See copy_write.h. */
#include "ladder/copy_write.h"

#include "base/clock.h"
#include "base/glob.h"
#include "ladder/hash_copy.h"
#include "ladder/keeper.h"
#include "ladder/ladder.h"
#include "ladder/ladder_hit.h"
#include "wire/reply.h"

enum copy_action {
	ACTION_REMOVE, /* DEL: every argument is a key */
	ACTION_EXPIRE, /* the copy's time changes: let the next read ask */
	ACTION_SET,    /* SET key value [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL] */
	ACTION_SETEX,  /* key ttl value, in seconds or milliseconds */
	ACTION_MSET,   /* key value ... */
	ACTION_HSET,   /* key field value ...; of a hash map */
	ACTION_HDEL,   /* key field ...; of a hash map */
};

static const struct copy_command {
	struct slice name;
	enum copy_action action;
	size_t min_argc;
	int64_t unit_ms; /* of the ttl */
} copy_commands[] = {
	{ SLICE_INIT("del"), ACTION_REMOVE, 2, 0 },
	{ SLICE_INIT("unlink"), ACTION_REMOVE, 2, 0 },
	{ SLICE_INIT("expire"), ACTION_EXPIRE, 3, 0 },
	{ SLICE_INIT("pexpire"), ACTION_EXPIRE, 3, 0 },
	{ SLICE_INIT("expireat"), ACTION_EXPIRE, 3, 0 },
	{ SLICE_INIT("pexpireat"), ACTION_EXPIRE, 3, 0 },
	{ SLICE_INIT("persist"), ACTION_EXPIRE, 2, 0 },
	{ SLICE_INIT("set"), ACTION_SET, 3, 0 },
	{ SLICE_INIT("setex"), ACTION_SETEX, 4, 1000 },
	{ SLICE_INIT("psetex"), ACTION_SETEX, 4, 1 },
	{ SLICE_INIT("mset"), ACTION_MSET, 3, 0 },
	{ SLICE_INIT("hset"), ACTION_HSET, 4, 0 },
	{ SLICE_INIT("hmset"), ACTION_HSET, 4, 0 },
	{ SLICE_INIT("hdel"), ACTION_HDEL, 3, 0 },
};

static const struct copy_command *
find_command(const struct slice *argv, size_t argc)
{
	for (size_t i = 0; i < sizeof(copy_commands) / sizeof(copy_commands[0]); i++) {
		const struct copy_command *command = &copy_commands[i];
		if (slice_equal_nocase(argv[0], command->name))
			return argc >= command->min_argc ? command : NULL;
	}
	return NULL;
}

/* A ttl (or the moment when it ends) times its unit, as a ttl; false for
 * what Redis would refuse, a moment beyond 64 bits among it. */
static bool
read_ttl(struct slice text, int64_t unit_ms, bool is_moment, int64_t *ttl_ms)
{
	int64_t wall_ms = clock_wall_ms();

	if (!slice_to_int64(text, ttl_ms) || *ttl_ms <= 0 ||
	    __builtin_mul_overflow(*ttl_ms, unit_ms, ttl_ms))
		return false;
	if (is_moment)
		*ttl_ms -= wall_ms;
	return *ttl_ms <= INT64_MAX - wall_ms;
}

/* SET's options; false for those whose outcome depends on what Redis holds
 * (NX, XX, GET), and for what is no option. */
static bool
read_set_options(const struct slice *argv, size_t argc, int64_t *ttl_ms)
{
	static const struct {
		struct slice name;
		int64_t unit_ms;
		bool is_moment;
	} options[] = {
		{ SLICE_INIT("EX"), 1000, false },
		{ SLICE_INIT("PX"), 1, false },
		{ SLICE_INIT("EXAT"), 1000, true },
		{ SLICE_INIT("PXAT"), 1, true },
	};

	*ttl_ms = TIME_NEVER;
	if (argc == 3 || (argc == 4 && slice_equal_nocase(argv[3], SLICE("KEEPTTL"))))
		return true;
	for (size_t i = 0; i < 4 && argc == 5; i++) {
		if (slice_equal_nocase(argv[3], options[i].name))
			return read_ttl(argv[4], options[i].unit_ms, options[i].is_moment, ttl_ms);
	}
	return false;
}

static bool
is_well_formed(const struct copy_command *command, const struct slice *argv, size_t argc)
{
	int64_t number;

	switch (command->action) {
	case ACTION_REMOVE:
		return true;
	case ACTION_EXPIRE: /* options (NX, GT ...) depend on what Redis holds */
		return argc == command->min_argc && (argc == 2 || slice_to_int64(argv[2], &number));
	case ACTION_SET:
		return read_set_options(argv, argc, &number);
	case ACTION_SETEX:
		return argc == 4 && read_ttl(argv[2], command->unit_ms, false, &number);
	case ACTION_MSET:
		return argc % 2 == 1;
	case ACTION_HSET:
		return argc % 2 == 0;
	case ACTION_HDEL:
		return true;
	}
	return false;
}

/* Where the next key stands: every argument, every other, or the first only. */
static size_t
key_step(const struct copy_command *command)
{
	return command->action == ACTION_REMOVE ? 1 : command->action == ACTION_MSET ? 2 : SIZE_MAX;
}

/* A hash command on a map of strings is Redis's to refuse. */
static bool
is_mapped(const struct rules *rules, const struct copy_command *command, struct slice key)
{
	struct slice id;
	const struct map *map = maps_find(rules->maps, key, &id);
	bool is_of_hash = command->action == ACTION_HSET || command->action == ACTION_HDEL;

	return map != NULL && (!is_of_hash || map->settings->type == MAP_HASH);
}

bool
copy_write_can(const struct rules *rules, const struct slice *argv, size_t argc)
{
	/* All keys have to be mapped: without maps nothing else matters. */
	if (maps_count(rules->maps) == 0)
		return false;
	const struct copy_command *command = find_command(argv, argc);
	if (command == NULL || !is_well_formed(command, argv, argc))
		return false;
	size_t step = key_step(command);
	for (size_t i = 1; i < argc; i += step) {
		if (!is_mapped(rules, command, argv[i]))
			return false;
		if (argc - i <= step)
			break;
	}
	return true;
}

/* ---- carrying out ---- */

static void
put(struct ladder_context *context, struct slice key, struct slice bytes, int64_t ttl_ms)
{
	const struct settings *settings = context->rules->settings;
	struct slice id;
	const struct map *map = maps_find(context->rules->maps, key, &id);
	int64_t now_ms = clock_mono_ms();

	/* A string where the map promises a hash is no answer to any read. */
	if (!ladder_may_keep(context, key) || map->settings->type == MAP_HASH || ttl_ms <= 0) {
		cache_drop(context->backends->cache, key);
		return;
	}
	int64_t valid_until_ms = ttl_ms == TIME_NEVER ? TIME_NEVER : now_ms + ttl_ms;
	int64_t fresh_until_ms = now_ms + settings->cache.ttl_ms;
	struct cache_value value = {
		.kind = CACHE_STRING,
		.source = CACHE_FROM_WRITE,
		.bytes = blob_new(bytes),
		.filled_ms = now_ms,
		.fresh_until_ms = fresh_until_ms < valid_until_ms ? fresh_until_ms : valid_until_ms,
		.stale_until_ms = fresh_until_ms + settings->cache.stale_ms,
		.valid_until_ms = valid_until_ms,
		.is_validity_exact = true,
		.refresh_at_ms = TIME_NEVER,
	};
	cache_put(context->backends->cache, key, &value);
	blob_unref(value.bytes);
}

/*
 * The copy that memory holds, changed; it keeps its times. Where it holds
 * none there is nothing to change: the next read asks Postgres.
 */
static void
change_hash(struct ladder_context *context, const struct copy_command *command,
    const struct slice *argv, size_t argc, struct buf *reply)
{
	struct cache *cache = context->backends->cache;
	size_t step = command->action == ACTION_HSET ? 2 : 1;
	size_t fields = (argc - 2) / step, found = 0;
	struct cache_value value;
	struct buf changed = BUF_EMPTY;

	if (cache_find(cache, argv[1], clock_mono_ms(), &value, NULL) == CACHE_MISS)
		value = (struct cache_value){ .kind = CACHE_ABSENT };
	if (value.kind == CACHE_HASH) {
		found =
		    hash_copy_without(blob_slice(value.bytes), argv + 2, argc - 2, step, &changed);
		for (size_t i = 2; i < argc && step == 2; i++)
			reply_bulk(&changed, argv[i]);
		struct blob *bytes = blob_new(buf_slice(&changed));
		blob_unref(value.bytes);
		value.bytes = bytes;
		value.source = CACHE_FROM_WRITE;
		cache_put(cache, argv[1], &value);
	} else {
		cache_drop(cache, argv[1]);
	}
	if (slice_equal_nocase(argv[0], SLICE("hmset")))
		reply_simple(reply, "OK");
	else
		reply_integer(reply,
		    (int64_t)(step == 2                ? fields - found
			    : value.kind == CACHE_HASH ? found
						       : fields));
	cache_value_release(&value);
	buf_free(&changed);
}

/* The glob of all keys of the key's map. */
static void
append_pattern(const struct rules *rules, struct slice key, struct buf *out)
{
	struct slice id;
	const struct map *map = maps_find(rules->maps, key, &id);

	glob_append_literal(out, map->prefix);
	buf_append(out, "*", 1);
	glob_append_literal(out, map->suffix);
}

/* The journal is full: instead of the keys their whole maps. */
static bool
add_maps_to_journal(struct ladder_context *context, const struct slice *keys, size_t step,
    size_t count)
{
	bool is_added = true;

	for (size_t i = 0; i < count && is_added; i++) {
		struct buf pattern = BUF_EMPTY;
		append_pattern(context->rules, keys[i * step], &pattern);
		struct slice glob = buf_slice(&pattern);
		is_added = journal_add_areas(context->backends->journal, &glob, 1);
		buf_free(&pattern);
	}
	return is_added;
}

static bool
add_to_journal(struct ladder_context *context, const struct copy_command *command,
    const struct slice *argv, size_t argc)
{
	size_t step = key_step(command);
	size_t count = step < argc ? (argc - 1) / step : 1;

	if (!journal_add_all(context->backends->journal, argv + 1, step, count) &&
	    !(journal_is_full_for(context->backends->journal, count) &&
		add_maps_to_journal(context, argv + 1, step, count)))
		return false;
	keeper_journal_changed(context->backends->keeper);
	return true;
}

bool
copy_write_apply(struct ladder_context *context, const struct slice *argv, size_t argc,
    struct buf *reply)
{
	const struct copy_command *command = find_command(argv, argc);
	int64_t ttl_ms = TIME_NEVER;

	if (!add_to_journal(context, command, argv, argc))
		return false;
	switch (command->action) {
	case ACTION_REMOVE:
		for (size_t i = 1; i < argc; i++)
			cache_drop(context->backends->cache, argv[i]);
		reply_integer(reply, (int64_t)argc - 1);
		return true;
	case ACTION_EXPIRE:
		cache_drop(context->backends->cache, argv[1]);
		reply_integer(reply, 1);
		return true;
	case ACTION_SET:
		if (read_set_options(argv, argc, &ttl_ms))
			put(context, argv[1], argv[2], ttl_ms);
		break;
	case ACTION_SETEX:
		if (read_ttl(argv[2], command->unit_ms, false, &ttl_ms))
			put(context, argv[1], argv[3], ttl_ms);
		break;
	case ACTION_HSET:
	case ACTION_HDEL:
		change_hash(context, command, argv, argc, reply);
		return true;
	case ACTION_MSET:
		for (size_t i = 1; i + 1 < argc; i += 2)
			put(context, argv[i], argv[i + 1], TIME_NEVER);
		break;
	}
	reply_simple(reply, "OK");
	return true;
}
