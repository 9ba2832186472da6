/* XXH64, seed 0 (Yann Collet, https://xxhash.com, specification 0.1.1), for little-endian machines. */
#include "internal.h"

#include <string.h>

#define P1 0x9E3779B185EBCA87u
#define P2 0xC2B2AE3D27D4EB4Fu
#define P3 0x165667B19E3779F9u
#define P4 0x85EBCA77C2B2AE63u
#define P5 0x27D4EB2F165667C5u

static uint64_t rotl(uint64_t x, int n) { return x << n | x >> (64 - n); }

static uint64_t read64(const uint8_t *p)
{
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}

static uint64_t read32(const uint8_t *p)
{
  uint32_t v;
  memcpy(&v, p, 4);
  return v;
}

static uint64_t mix(uint64_t lane, uint64_t input) { return rotl(lane + input * P2, 31) * P1; }

static uint64_t merge(uint64_t hash, uint64_t lane) { return (hash ^ mix(0, lane)) * P1 + P4; }

/* Whole stripes of 32 bytes: four independent lanes. */
static uint64_t stripes(const uint8_t **data, const uint8_t *end)
{
  uint64_t a = P1 + P2, b = P2, c = 0, d = 0 - P1;
  const uint8_t *p = *data;
  for (; end - p >= 32; p += 32) {
    a = mix(a, read64(p));
    b = mix(b, read64(p + 8));
    c = mix(c, read64(p + 16));
    d = mix(d, read64(p + 24));
  }
  *data = p;
  uint64_t hash = rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18);
  return merge(merge(merge(merge(hash, a), b), c), d);
}

static uint64_t tail(uint64_t hash, const uint8_t *p, const uint8_t *end)
{
  for (; end - p >= 8; p += 8) hash = rotl(hash ^ mix(0, read64(p)), 27) * P1 + P4;
  if (end - p >= 4) {
    hash = rotl(hash ^ read32(p) * P1, 23) * P2 + P3;
    p += 4;
  }
  for (; p < end; p++) hash = rotl(hash ^ *p * P5, 11) * P1;
  return hash;
}

static uint64_t avalanche(uint64_t hash)
{
  hash = (hash ^ hash >> 33) * P2;
  hash = (hash ^ hash >> 29) * P3;
  return hash ^ hash >> 32;
}

uint64_t edgeq_xxh64(const void *data, uint64_t bytes)
{
  const uint8_t *p = data, *end = p + bytes;
  uint64_t hash = bytes >= 32 ? stripes(&p, end) : P5;
  return avalanche(tail(hash + bytes, p, end));
}
