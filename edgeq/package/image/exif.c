/* How a camera was held: the orientation in EXIF data or in an XMP packet. */
#include "decode.h"

#include <string.h>

#define TAG 0x0112
enum { BYTE = 1, SHORT = 3, LONG = 4 };

static uint32_t get16(const uint8_t *p, int big) { return big ? edgeq_be16(p) : edgeq_le16(p); }
static uint32_t get32(const uint8_t *p, int big) { return big ? edgeq_be32(p) : edgeq_le32(p); }

static int known(uint32_t value) { return value >= 1 && value <= 8 ? (int)value : 0; }

static int entry_value(const uint8_t *entry, int big)
{
  uint32_t kind = get16(entry + 2, big);
  if (get32(entry + 4, big) != 1) return 0;
  return known(kind == SHORT ? get16(entry + 8, big) : kind == LONG ? get32(entry + 8, big) : kind == BYTE ? entry[8] : 0);
}

int edgeq_exif_orientation(const uint8_t *bytes, size_t size)
{
  if (size >= 6 && !memcmp(bytes, "Exif\0\0", 6)) return edgeq_exif_orientation(bytes + 6, size - 6);
  if (size < 8) return 0;
  int big = bytes[0] == 'M';
  if (memcmp(bytes, big ? "MM" : "II", 2) || get16(bytes + 2, big) != 42) return 0;
  size_t at = get32(bytes + 4, big);
  if (at > size - 2) return 0;
  size_t entries = get16(bytes + at, big);
  for (at += 2; entries && size - at >= 12; entries--, at += 12)
    if (get16(bytes + at, big) == TAG) return entry_value(bytes + at, big);
  return 0;
}

int edgeq_xmp_orientation(const uint8_t *bytes, size_t size)
{
  static const char NAME[] = "tiff:Orientation";
  const size_t length = sizeof NAME - 1;
  for (size_t i = 0; i + length + 2 < size; i++) {
    if (memcmp(bytes + i, NAME, length)) continue;
    const uint8_t *p = bytes + i + length;
    if (*p == '>') return known((uint32_t)(p[1] - '0'));
    if (*p == '=' && p[1] == '"') return known((uint32_t)(p[2] - '0'));
  }
  return 0;
}
