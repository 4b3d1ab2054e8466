/*
 * See settings_file.h. inih tells names and values apart; what it leaves out
 * is done here, in the reader that it takes its lines from:
 *
 *   file ── take_line() ──> line without comment ──> give_line() ──> inih
 *                                │ [section]                          │
 *                                v                                    v
 *                          enter_section()                        on_value()
 *
 * - inih (as Debian builds it) tells no line numbers and no empty sections.
 * - It cuts lines at some 200 bytes, without a word. A longer one is given to
 *   it in pieces, each looking like the indented continuation of the last,
 *   and put together again in on_value().
 * - A line that is no key = value shows as one that on_value() wasn't called
 *   for.
 */
#include "base/settings_file.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/settings_entries.h"

#define FILE_BYTES_MAX (1024 * 1024)

/* What the next call of on_value() brings. */
enum piece {
	PIECE_KEY,  /* a key and its value, or the beginning of it */
	PIECE_LINE, /* an indented line that belongs to the last key */
	PIECE_REST, /* more of the line that the last call was for */
};

struct reader {
	struct settings *settings;
	const char *path;
	struct slice text; /* lines still to come */
	struct slice rest; /* of the line under way, too long for inih at once */
	int line;
	enum piece piece;
	bool is_awaited; /* inih owes us a call of on_value() */
	bool has_section;
	struct settings_place place;
	const struct setting *row;   /* of the last key in this section; NULL: none yet */
	struct setting_entry *entry; /* and what has been written for it */
	char *error;
	size_t error_size;
	bool has_failed;
};

/* "FILE:LINE: " and the message; the first one counts. */
__attribute__((format(printf, 3, 4))) static bool
fail(struct reader *reader, int line, const char *format, ...)
{
	va_list args;

	if (reader->has_failed)
		return false;
	reader->has_failed = true;
	int len = snprintf(reader->error, reader->error_size, "%s:%d: ", reader->path, line);
	if (len > 0 && (size_t)len < reader->error_size) {
		va_start(args, format);
		vsnprintf(reader->error + len, reader->error_size - (size_t)len, format, args);
		va_end(args);
	}
	settings_one_line(reader->error);
	return false;
}

static bool
enter_map(struct reader *reader, struct slice name)
{
	char phrase[160];
	struct settings *settings = reader->settings;
	size_t known = settings_find_map(settings, name);

	if (!settings_is_map_name(name)) {
		settings_refuse_map_name(name, phrase, sizeof(phrase));
		return fail(reader, reader->line, "%s", phrase);
	}
	if (known < settings->map_count)
		return fail(reader, reader->line, "[map %s] is already defined in line %d",
		    settings->maps[known].name, settings->maps[known].line);
	settings_add_map(settings, name, reader->line);
	reader->place = (struct settings_place){ NULL, settings->map_count - 1 };
	return true;
}

static bool
enter_named(struct reader *reader, struct slice section)
{
	char hint[SETTING_HINT_SIZE];
	char *name = slice_dup(section);

	reader->place = (struct settings_place){ setting_find_section(name), 0 };
	if (reader->place.section == NULL)
		fail(reader, reader->line, "[%.*s]: unknown section%s", SETTINGS_SHOWN_BYTES, name,
		    setting_hint_section(name, hint));
	free(name);
	return reader->place.section != NULL;
}

static bool
enter_section(struct reader *reader, struct slice line)
{
	struct slice map_name;
	const char *close = memchr(line.at, ']', line.len);

	reader->has_section = true;
	reader->row = NULL;
	if (close == NULL)
		return fail(reader, reader->line, "\"[\" has no \"]\"");
	if (close != line.at + line.len - 1)
		return fail(reader, reader->line, "nothing but a comment may follow \"]\"");
	struct slice section = slice_make(line.at + 1, line.len - 2);
	if (settings_is_map_section(section, &map_name))
		return enter_map(reader, map_name);
	return enter_named(reader, section);
}

static bool
start_key(struct reader *reader, const char *name, const char *value)
{
	char where[SETTING_HINT_SIZE], hint[SETTING_HINT_SIZE];
	bool is_map = reader->place.section == NULL;

	if (!reader->has_section)
		return fail(reader, reader->line, "%.*s: stands before any [section]",
		    SETTINGS_SHOWN_BYTES, name);
	settings_describe(reader->settings, reader->place, where, sizeof(where));
	reader->row = is_map ? setting_find_map(name) : setting_find(reader->place.section, name);
	if (reader->row == NULL)
		return fail(reader, reader->line, "[%s] %.*s: unknown key%s", where,
		    SETTINGS_SHOWN_BYTES, name,
		    is_map ? setting_hint_map_key(name, hint)
			   : setting_hint_key(reader->place.section, name, hint));
	reader->entry = settings_entry(reader->settings, reader->place, reader->row);
	if (reader->entry->written != NULL)
		return fail(reader, reader->line, "[%s] %s: already set in line %d", where, name,
		    reader->entry->line);
	reader->entry->written = alloc_text(value);
	reader->entry->line = reader->line;
	return true;
}

static bool
continue_key(struct reader *reader, const char *more, const char *between)
{
	struct setting_entry *entry = reader->entry;
	char where[SETTING_HINT_SIZE];

	if (reader->piece == PIECE_LINE && (reader->row->flags & SETTING_LINES) == 0) {
		settings_describe(reader->settings, reader->place, where, sizeof(where));
		return fail(reader, reader->line,
		    "[%s] %s: goes on in an indented line, but must be one line", where,
		    reader->row->key);
	}
	size_t old = strlen(entry->written), size = old + strlen(more) + 2;
	entry->written = alloc_again(entry->written, size);
	snprintf(entry->written + old, size - old, "%s%s", old > 0 ? between : "", more);
	return true;
}

/* inih's ini_handler; its section is not used, see enter_section(). */
static int
on_value(void *arg, const char *section, const char *name, const char *value)
{
	struct reader *reader = arg;
	(void)section;

	reader->is_awaited = false;
	if (reader->has_failed)
		return 0;
	if (reader->piece == PIECE_KEY)
		return start_key(reader, name, value);
	return continue_key(reader, value, reader->piece == PIECE_LINE ? "\n" : "");
}

/* The next line, without its end, its comment, and blanks behind. */
static struct slice
take_line(struct reader *reader)
{
	const char *end = memchr(reader->text.at, '\n', reader->text.len);
	size_t len = end != NULL ? (size_t)(end - reader->text.at) : reader->text.len;
	size_t taken = end != NULL ? len + 1 : len;
	struct slice line = { reader->text.at, len };

	reader->text = slice_make(reader->text.at + taken, reader->text.len - taken);
	reader->line++;
	struct slice first = settings_trim(line);
	if (first.len > 0 && (first.at[0] == ';' || first.at[0] == '#'))
		return SLICE_NONE;
	for (size_t i = 1; i < line.len; i++) {
		if (line.at[i] == ';' && settings_is_blank(line.at[i - 1]))
			line.len = i;
	}
	while (line.len > 0 && settings_is_blank(line.at[line.len - 1]))
		line.len--;
	return line;
}

/* Decides what the line is; sets what is to be given to inih. */
static void
look_at_line(struct reader *reader)
{
	struct slice line = take_line(reader), first = settings_trim(line);
	bool is_indented = first.len < line.len;

	reader->rest = first;
	reader->is_awaited = first.len > 0;
	reader->piece = is_indented && reader->row != NULL ? PIECE_LINE : PIECE_KEY;
	if (first.len > 0 && first.at[0] == '[' && reader->piece == PIECE_KEY) {
		reader->is_awaited = false;
		reader->rest = SLICE("[section]"); /* so that inih forgets the last key, too */
		enter_section(reader, first);
	}
}

/* The first piece of a line must hold its key and '='. */
static size_t
first_cut(const struct reader *reader)
{
	size_t i = 0;

	if (reader->piece != PIECE_KEY)
		return 1;
	while (i < reader->rest.len && reader->rest.at[i] != '=' && reader->rest.at[i] != ':')
		i++;
	return i < reader->rest.len ? i + 1 : 1;
}

/* Where to cut so that inih strips nothing: not beside a blank, and not
 * before what would then begin a comment. 0 when there is no such place. */
static size_t
place_to_cut(struct slice text, size_t least, size_t most)
{
	for (size_t len = most; len >= least; len--) {
		char after = text.at[len];
		if (!settings_is_blank(text.at[len - 1]) && !settings_is_blank(after) &&
		    after != ';' && after != '#')
			return len;
	}
	return 0;
}

/* inih's ini_reader: fills `line` (of `size` bytes, with its NUL) as fgets(). */
static char *
give_line(char *line, int size, void *arg)
{
	struct reader *reader = arg;
	size_t room = (size_t)size - 3, len; /* a blank, '\n', NUL */

	if (reader->is_awaited)
		fail(reader, reader->line, "this is no \"key = value\"");
	if (reader->has_failed || (reader->rest.len == 0 && reader->text.len == 0))
		return NULL;
	if (reader->rest.len > 0) {
		reader->piece = PIECE_REST;
		reader->is_awaited = true;
	} else {
		look_at_line(reader);
	}
	len = reader->rest.len;
	if (len > room)
		len = place_to_cut(reader->rest, first_cut(reader), room);
	if (len == 0 && reader->rest.len > 0)
		fail(reader, reader->line, "%zu bytes without a place to break the line", room);
	snprintf(line, (size_t)size, "%s%.*s\n", reader->piece == PIECE_KEY ? "" : " ", (int)len,
	    len > 0 ? reader->rest.at : "");
	if (len > 0)
		reader->rest = slice_make(reader->rest.at + len, reader->rest.len - len);
	return reader->has_failed ? NULL : line;
}

static bool
read_whole(const char *path, struct buf *text, char *error, size_t error_size)
{
	FILE *file = fopen(path, "re");

	if (file == NULL) {
		snprintf(error, error_size, "%s: cannot be read: %s", path, strerror(errno));
		return false;
	}
	char *at = buf_reserve(text, FILE_BYTES_MAX + 1);
	errno = 0;
	buf_added(text, fread(at, 1, FILE_BYTES_MAX + 1, file));
	int problem = ferror(file) != 0 ? errno : 0;
	fclose(file);
	if (problem != 0)
		snprintf(error, error_size, "%s: cannot be read: %s", path, strerror(problem));
	else if (buf_len(text) > FILE_BYTES_MAX)
		snprintf(error, error_size, "%s: is larger than %d bytes", path, FILE_BYTES_MAX);
	else if (memchr(buf_slice(text).at, '\0', buf_len(text)) != NULL)
		snprintf(error, error_size, "%s: is no text (it contains a NUL byte)", path);
	else
		return true;
	return false;
}

bool
settings_read_file(struct settings *settings, const char *path, char *error, size_t error_size)
{
	struct buf text = BUF_EMPTY;
	struct reader reader = {
		.settings = settings,
		.path = path,
		.error = error,
		.error_size = error_size,
	};
	bool is_fine = read_whole(path, &text, error, error_size);

	if (is_fine) {
		if (slice_starts(buf_slice(&text), SLICE("\xef\xbb\xbf")))
			buf_take(&text, 3);
		reader.text = buf_slice(&text);
		if (ini_parse_stream(give_line, &reader, on_value, &reader) != 0)
			fail(&reader, reader.line, "cannot be understood");
		is_fine = !reader.has_failed;
	}
	buf_free(&text);
	return is_fine;
}
