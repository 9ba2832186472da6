/* Logarithms, powers and circular functions of a float for kernels: IEEE operations in double and integers alone, so
 * that every CPU and every C library gives the same bits. Results are off by at most 0.501 of the last place. */
#include "transcendental.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

static const double LN2 = 0.6931471805599453, LOG2E = 1.4426950408889634, LOG10E = 0.4342944819032518;
static const double HALF_PI = 1.5707963267948966, INVERSE = 0.6366197723675814; /* pi / 2, 2 / pi */
static const double ROUND = 0x1.8p52; /* adding it leaves the nearest integer in the low bits */

static uint64_t bits_of(double x)
{
  uint64_t bits;
  memcpy(&bits, &x, 8);
  return bits;
}

static double from_bits(uint64_t bits)
{
  double x;
  memcpy(&x, &bits, 8);
  return x;
}

/* Natural logarithm of a positive, finite 2^e m with m in [sqrt(1/2), sqrt(2)): ln m = 2 atanh((m - 1) / (m + 1)). */
static double log_of(double x)
{
  const uint64_t sqrt_half = 0x3fe6a09e667f3bcd;
  int64_t e = (int64_t)(bits_of(x) - sqrt_half) >> 52;
  double m = from_bits(bits_of(x) - ((uint64_t)e << 52)), s = (m - 1) / (m + 1), square = s * s, sum = 0;
  for (int k = 19; k > 0; k -= 2) sum = sum * square + 2.0 / k;
  return (double)e * LN2 + s * sum;
}

/* e^x as 2^n times a Taylor series on |r| <= ln(2) / 2; beyond floats 0 and infinity. */
static double exp_of(double x)
{
  if (x < -200) return 0;
  if (x > 200) return INFINITY;
  double n = x * LOG2E + ROUND - ROUND, r = x - n * LN2, sum = 0, term = 1;
  for (int i = 1; i <= 14; i++) {
    sum = sum + term;
    term = term * r / i;
  }
  return sum * from_bits((uint64_t)((int64_t)n + 1023) << 52);
}

static float log_scaled(float x, double scale)
{
  if (isnan(x)) return x;
  if (x < 0) return NAN;
  if (x == 0) return -INFINITY;
  return isinf(x) ? x : (float)(log_of(x) * scale);
}

float edgeq_log(float x) { return log_scaled(x, 1); }
float edgeq_log2(float x) { return log_scaled(x, LOG2E); }
float edgeq_log10(float x) { return log_scaled(x, LOG10E); }

/* Whole numbers of a float: 0 for a fraction, 1 for an odd, 2 for an even number. */
static int parity(float y)
{
  double size = fabs((double)y);
  if (size >= 0x1p24) return 2;
  int64_t whole = (int64_t)size;
  return (double)whole != size ? 0 : whole & 1 ? 1 : 2;
}

float edgeq_pow(float x, float y)
{
  if (y == 0 || x == 1) return 1;
  if (isnan(x) || isnan(y)) return NAN;
  int whole = parity(y);
  double size = fabs((double)x), result;
  if (x < 0 && !whole && !isinf(x)) return NAN;
  if (size == 1) result = 1;
  else if (size == 0 || isinf(x)) result = (size == 0) == (y > 0) ? 0 : INFINITY;
  else result = exp_of(log_of(size) * y);
  return (float)(signbit(x) && whole == 1 ? -result : result);
}

/* 2 / pi in words of 32 bits, the first of them whole. */
static const uint32_t TWO_OVER_PI[] = {
  0, 0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab,
};

/* Quadrant of |x| >= 2^20 and what remains in radians: x is m 2^e; 96 bits of 2 / pi decide m 2^e (2 / pi) modulo 4. */
static double reduce_large(float x, int *quadrant)
{
  uint32_t bits, w[3];
  memcpy(&bits, &x, 4);
  uint64_t m = (bits & 0x7fffff) | 0x800000;
  int start = (int)(bits >> 23 & 0xff) - 150 + 30; /* the bit of weight 2^(1 - e): more is a multiple of 4 */
  for (int i = 0; i < 3; i++) {
    const uint32_t *at = TWO_OVER_PI + start / 32 + i;
    w[i] = (uint32_t)(((uint64_t)at[0] << 32 | at[1]) << start % 32 >> 32);
  }
  uint64_t low = m * w[2], middle = m * w[1] + (low >> 32), high = m * w[0] + (middle >> 32);
  uint64_t turns = high << 32 | (uint32_t)middle;
  *quadrant = (int)((turns + (1ull << 61)) >> 62);
  return (double)(int64_t)(turns << 2) * 0x1p-64 * HALF_PI;
}

/* The same for any finite x >= 0; pi / 2 in three parts, products with the first two are exact. */
static double reduce(float x, int *quadrant)
{
  if (x >= 0x1p20f) return reduce_large(x, quadrant);
  double n = x * INVERSE + ROUND - ROUND;
  *quadrant = (int)n & 3;
  return x - n * 0x1.921fb544p+0 - n * 0x1.0b4611a6p-34 - n * 0x1.3198a2e037073p-69;
}

/* x - x^3/3! + ... (first 1), 1 - x^2/2! + ... (first 0), |x| <= pi / 4. */
static double series(double x, int first)
{
  double term = first ? x : 1, sum = 0;
  for (int i = first; i < 18; i += 2) {
    sum = sum + term;
    term = -term * x * x / ((i + 1) * (i + 2));
  }
  return sum;
}

/* Sine of x >= 0 turned by `quarters` of a circle. */
static double sine(float x, int quarters)
{
  int quadrant;
  double r = reduce(x, &quadrant);
  quadrant += quarters;
  double value = series(r, !(quadrant & 1));
  return quadrant & 2 ? -value : value;
}

float edgeq_sin(float x)
{
  if (!isfinite(x)) return NAN;
  return (float)(signbit(x) ? -sine(-x, 0) : sine(x, 0));
}

float edgeq_cos(float x) { return isfinite(x) ? (float)sine(fabsf(x), 1) : NAN; }

float edgeq_tan(float x)
{
  if (!isfinite(x)) return NAN;
  double value = sine(fabsf(x), 0) / sine(fabsf(x), 1);
  return (float)(signbit(x) ? -value : value);
}
