#include "native.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STABLE 0.03 /* as edgeq/measure/spread.py */

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double median(const double *values, int n)
{
  double sorted[n];
  memcpy(sorted, values, sizeof sorted);
  qsort(sorted, (size_t)n, sizeof *sorted, ascending);
  return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

int is_stable(const double *values, int n)
{
  double sum = 0, squares = 0;
  for (int i = 0; i < n; i++) sum += values[i];
  double mean = sum / n;
  for (int i = 0; i < n; i++) squares += (values[i] - mean) * (values[i] - mean);
  return n > 1 && sqrt(squares / (n - 1)) <= STABLE * mean;
}
