/* Times of every region of every entry, several times over. */
#include "runner.h"

#include <stdlib.h>

static void walk_all(run *r)
{
  edgeq_entry_facts facts;
  for (int32_t e = 0; e < r->facts.entries; e++) {
    check(r, edgeq_entry_info(r->ctx, e, &facts));
    if (facts.kind == EDGEQ_STATIC) run_seconds(r, e);
  }
  if (r->set->decode) decode_rate(r, r->set->decode);
  if (r->set->lengths) prefill_rate(r, r->set->prefill[0]); /* the longest */
}

static void print_times(json *j, const edgeq_time *times, int32_t n)
{
  json_open(j, "inside_ns", '[');
  for (int32_t i = 0; i < n; i++) json_integer(j, NULL, times[i].inside_ns);
  json_close(j, ']');
  json_open(j, "total_ns", '[');
  for (int32_t i = 0; i < n; i++) json_integer(j, NULL, times[i].total_ns);
  json_close(j, ']');
}

static void print_entry(run *r, int32_t entry)
{
  edgeq_entry_facts facts;
  uint64_t walks, rows;
  check(r, edgeq_entry_info(r->ctx, entry, &facts));
  edgeq_time *times = calloc((size_t)facts.regions + 1, sizeof *times);
  if (!times) abort();
  check(r, edgeq_profile_read(r->ctx, entry, times, &walks, &rows));
  json_open(&r->j, facts.name, '{');
  json_integer(&r->j, "walks", walks);
  json_integer(&r->j, "rows", rows);
  print_times(&r->j, times, facts.regions);
  json_close(&r->j, '}');
  free(times);
}

void print_regions(run *r)
{
  json_open(&r->j, "profiles", '[');
  for (int i = 0; i < r->set->repeats; i++) {
    if (cool_down(&r->heat)) walk_all(r);
    check(r, edgeq_profile(r->ctx, 1));
    walk_all(r);
    check(r, edgeq_profile(r->ctx, 0));
    json_open(&r->j, NULL, '{');
    for (int32_t e = 0; e < r->facts.entries; e++) print_entry(r, e);
    json_close(&r->j, '}');
  }
  json_close(&r->j, ']');
}
