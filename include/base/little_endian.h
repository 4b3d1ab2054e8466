/*
 * Numbers in files: little endian, on whichever machine, and wherever they
 * happen to stand. The caller sees to the room.
 */
#ifndef SIDECAR_BASE_LITTLE_ENDIAN_H
#define SIDECAR_BASE_LITTLE_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline void
little_put_32(void *at, uint32_t number)
{
	number = htole32(number);
	memcpy(at, &number, sizeof(number));
}

static inline void
little_put_64(void *at, uint64_t number)
{
	number = htole64(number);
	memcpy(at, &number, sizeof(number));
}

static inline uint32_t
little_get_32(const void *at)
{
	uint32_t number;

	memcpy(&number, at, sizeof(number));
	return le32toh(number);
}

static inline uint64_t
little_get_64(const void *at)
{
	uint64_t number;

	memcpy(&number, at, sizeof(number));
	return le64toh(number);
}

#endif
