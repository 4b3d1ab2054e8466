/*
 * The clocks. Whatever decides by time takes `now` as a parameter; only the
 * event loops read these.
 */
#ifndef SIDECAR_BASE_CLOCK_H
#define SIDECAR_BASE_CLOCK_H

#include <stdint.h>

#define TIME_NEVER INT64_MAX

int64_t clock_mono_ms(void); /* never goes back; from an arbitrary start */
int64_t clock_mono_us(void);
int64_t clock_mono_ns(void);
int64_t clock_wall_ms(void); /* since 1970, UTC; may jump */

#endif
