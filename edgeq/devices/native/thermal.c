/* Temperatures, and waiting for them to fall: a phone that is hot is slow. */
#include "native.h"

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef ZONES /* a test has its own */
#define ZONES "/sys/class/thermal/thermal_zone*"
#endif
#define NEAR 1.0 /* degrees above the start that count as cool */
#define LOOK_EVERY_S 0.5

static int is_processor(const char *zone)
{
  char path[256], type[64];
  snprintf(path, sizeof path, "%s/type", zone);
  read_line(path, type, sizeof type);
  return strstr(type, "cpu") || strstr(type, "soc") || strstr(type, "pkg") || strstr(type, "core");
}

/* Millidegrees in the file; what no processor can be (an unused sensor) is unread. */
static double temperature(const char *zone)
{
  char path[256];
  snprintf(path, sizeof path, "%s/temp", zone);
  double celsius = 1e-3 * (double)read_number(path, -1000000);
  return celsius > 0 && celsius < 150 ? celsius : NAN;
}

double hottest(void)
{
  double processor = NAN, any = NAN;
  glob_t found;
  if (!glob(ZONES, 0, NULL, &found))
    for (size_t i = 0; i < found.gl_pathc; i++) {
      double t = temperature(found.gl_pathv[i]);
      any = fmax(any, t); /* fmax passes over NAN */
      if (is_processor(found.gl_pathv[i])) processor = fmax(processor, t);
    }
  globfree(&found);
  return isnan(processor) ? any : processor;
}

void cooling_start(cooling *c, double limit_s)
{
  double t = hottest();
  *c = (cooling){.start = t, .highest = t, .end = t, .limit_s = limit_s};
}

static int is_hot(cooling *c)
{
  c->looked_s = now_s();
  c->end = hottest();
  c->highest = fmax(c->highest, c->end);
  return c->end > c->start + NEAR;
}

int cool_down(cooling *c)
{
  double began = now_s(), waited = c->waited_s;
  if (isnan(c->start) || began - c->looked_s < LOOK_EVERY_S) return 0;
  while (is_hot(c) && c->waited_s < c->limit_s) {
    usleep((useconds_t)(1e6 * LOOK_EVERY_S));
    c->waited_s = waited + now_s() - began;
  }
  return c->waited_s > waited;
}

void print_cooling(json *j, cooling *c)
{
  if (isnan(c->start)) return;
  is_hot(c);
  json_open(j, "temperature", '{');
  json_number(j, "start_celsius", c->start);
  json_number(j, "highest_celsius", c->highest);
  json_number(j, "end_celsius", c->end);
  json_number(j, "waited_seconds", c->waited_s);
  json_flag(j, "cool", c->waited_s < c->limit_s);
  json_close(j, '}');
}
