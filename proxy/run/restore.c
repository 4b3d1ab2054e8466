/* See restore.h. */
#include "run/restore.h"

#include "base/glob.h"

struct restoration {
	const struct backends *backends;
	const struct settings *settings;
};

static bool
wants(struct slice key, void *arg)
{
	const struct restoration *restoration = arg;

	return glob_list_matches(slice_of(restoration->settings->cache.keys), key) &&
	    !journal_has(restoration->backends->journal, key);
}

struct snapshot *
restore_snapshot(const struct backends *backends, const struct settings *settings)
{
	struct restoration restoration = { backends, settings };
	struct snapshot_taker taker = {
		.wants = wants,
		.arg = &restoration,
		.max_stale_ms = settings->cache.stale_ms,
	};
	struct snapshot *snapshot = snapshot_new(settings, backends->cache);

	snapshot_load(snapshot, &taker);
	return snapshot;
}
