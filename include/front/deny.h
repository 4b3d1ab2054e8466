/* [commands] deny, made ready to be asked for every command. */
#ifndef SIDECAR_FRONT_DENY_H
#define SIDECAR_FRONT_DENY_H

#include "base/slice.h"

struct deny;

/* `list` as the setting has it, words between blanks or commas: "CONFIG"
 * denies all of it, "CONFIG|SET" only that. It must outlive the result. */
struct deny *deny_new(const char *list);
void deny_free(struct deny *deny);

/* `word`: the one that denies it. */
bool deny_has(const struct deny *deny, const struct slice *argv, size_t argc, struct slice *word);

#endif
