/* Inverse DCT of 8 x 8 blocks, after Loeffler, Ligtenberg and Moschytz (ICASSP 1989), in the integer arithmetic that libjpeg
 * calls "islow": factors of 13 fraction bits, columns first, two extra bits kept between the passes. */
#include "jpeg.h"

#include <string.h>

enum { FRACTION = 13, KEPT = 2 };

/* Factors times 2^13: sums and differences of cosines. */
enum {
  F0_298 = 2446, F0_390 = 3196, F0_541 = 4433, F0_765 = 6270, F0_899 = 7373, F1_175 = 9633, F1_501 = 12299, F1_847 = 15137,
  F1_961 = 16069, F2_053 = 16819, F2_562 = 20995, F3_072 = 25172
};

/* Eight values in[0], in[step], ... become eight, 2^13 larger. 64 bits: a damaged file's values cannot overflow them. */
static void transform(const int64_t in[8], int64_t out[8])
{
  int64_t turn = (in[2] + in[6]) * F0_541;
  int64_t low = turn - in[6] * F1_847, high = turn + in[2] * F0_765;
  int64_t sum = (in[0] + in[4]) * (1 << FRACTION), difference = (in[0] - in[4]) * (1 << FRACTION);
  int64_t even[4] = {sum + high, difference + low, difference - low, sum - high};

  int64_t a = in[7] + in[1], b = in[5] + in[3], c = in[7] + in[3], d = in[5] + in[1], both = (c + d) * F1_175;
  a *= -F0_899;
  b *= -F2_562;
  c = both - c * F1_961;
  d = both - d * F0_390;
  int64_t odd[4] = {in[1] * F1_501 + a + d, in[3] * F3_072 + b + c, in[5] * F2_053 + b + d, in[7] * F0_298 + a + c};
  for (int i = 0; i < 4; i++) {
    out[i] = even[i] + odd[i];
    out[7 - i] = even[i] - odd[i];
  }
}

static int64_t rounded(int64_t value, int bits) { return (value + ((int64_t)1 << (bits - 1))) >> bits; }

static uint8_t sample(int64_t value)
{
  value += 128;
  return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void columns(const int16_t *coefficients, const int32_t *steps, int64_t (*kept)[8])
{
  int64_t in[8], out[8];
  for (int x = 0; x < 8; x++) {
    int rest = 0;
    for (int y = 0; y < 8; y++) {
      in[y] = (int64_t)coefficients[8 * y + x] * steps[8 * y + x];
      if (y) rest |= coefficients[8 * y + x];
    }
    if (rest) transform(in, out);
    for (int y = 0; y < 8; y++) kept[y][x] = rest ? rounded(out[y], FRACTION - KEPT) : in[0] * (1 << KEPT);
  }
}

void edgeq_idct(const int16_t *coefficients, const uint16_t *steps, uint8_t *out, size_t stride)
{
  int64_t kept[8][8], row[8];
  int32_t natural[64];
  for (int k = 0; k < 64; k++) natural[EDGEQ_ZIGZAG[k]] = steps[k];
  columns(coefficients, natural, kept);
  for (int y = 0; y < 8; y++, out += stride) {
    transform(kept[y], row);
    for (int x = 0; x < 8; x++) out[x] = sample(rounded(row[x], FRACTION + KEPT + 3));
  }
}
