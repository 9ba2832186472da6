/* decode.h: what the decoders know of each other. Bytes of files are never trusted. */
#ifndef EDGEQ_DECODE_H
#define EDGEQ_DECODE_H
#include "image.h"

#define EDGEQ_TRUNCATED "the file is truncated"
#define EDGEQ_NO_MEMORY "out of memory"

static inline uint32_t edgeq_be16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }
static inline uint32_t edgeq_be32(const uint8_t *p) { return edgeq_be16(p) << 16 | edgeq_be16(p + 2); }
static inline uint32_t edgeq_le16(const uint8_t *p) { return (uint32_t)p[1] << 8 | p[0]; }
static inline uint32_t edgeq_le32(const uint8_t *p) { return edgeq_le16(p + 2) << 16 | edgeq_le16(p); }

/* Each decodes a whole file into pixels as stored, and the orientation (EXIF's 1..8) they are to be shown in. */
const char *edgeq_png_decode(const uint8_t *bytes, size_t size, edgeq_image *out, int *orientation);
const char *edgeq_jpeg_decode(const uint8_t *bytes, size_t size, edgeq_image *out, int *orientation);
const char *edgeq_bmp_decode(const uint8_t *bytes, size_t size, edgeq_image *out);
const char *edgeq_pnm_decode(const uint8_t *bytes, size_t size, edgeq_image *out);

/* A zlib stream into exactly `room` bytes; what it holds beyond them is ignored. */
const char *edgeq_inflate(const uint8_t *bytes, size_t size, uint8_t *out, size_t room);

/* Deflate's symbols: the first length of 257 + i, the first distance of code i, and how many bits follow a length. */
extern const uint16_t EDGEQ_LENGTH[29], EDGEQ_DISTANCE[30];
extern const uint8_t EDGEQ_LENGTH_BITS[29];

uint32_t edgeq_crc32(uint32_t crc, const uint8_t *bytes, size_t size); /* of ISO 3309; start with 0 */
uint32_t edgeq_adler32(const uint8_t *bytes, size_t size);

/* The orientation that EXIF data (a TIFF header and its directory) or an XMP packet names; 0: none. */
int edgeq_exif_orientation(const uint8_t *bytes, size_t size);
int edgeq_xmp_orientation(const uint8_t *bytes, size_t size);

/* Turns the image as an orientation of 2..8 asks for. */
const char *edgeq_upright(edgeq_image *image, int orientation);
#endif
