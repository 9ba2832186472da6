/* What the runner's files share: what to measure, and where samples go. */
#ifndef EDGEQ_DEVICES_RUNNER_H
#define EDGEQ_DEVICES_RUNNER_H
#include "edgeq.h"
#include "native.h"

enum { MOST_LENGTHS = 16, MOST_SAMPLES = 200, MOST_ENTRIES = 64 };

typedef struct {
  const char *weights, *variant;
  int32_t prefill[MOST_LENGTHS]; /* prompt lengths */
  int lengths;
  int32_t decode, first;         /* tokens decoded; prompt before the first token; 0: not measured */
  int repeats, threads;          /* least runs of each; 0 threads: one for each usable core */
  double budget_s, cool_s;       /* a measurement may repeat so long; all waits for cooling together */
} settings;

typedef struct {
  edgeq_context *ctx;
  edgeq_facts facts;
  cooling heat;
  const settings *set;
  json j;
} run;

/* Ends the process with the context's text when a call failed: its status is the exit code. */
void check(const run *r, int status);

/* ---- repeat.c ---- */
typedef double (*measurement)(run *r, int32_t argument);

/* Warms up, then measures until it is stable (`until_stable`), `most` runs or the budget are used; prints the samples. */
void repeat(run *r, const char *name, measurement once, int32_t argument, int most, int until_stable);

/* ---- speed.c, latency.c, regions.c ---- */
void print_speeds(run *r);    /* token entries: rates, first token */
void print_latencies(run *r); /* static entries; they leave inputs written, as a decoder may need */
void print_regions(run *r);
double prefill_rate(run *r, int32_t count);
double decode_rate(run *r, int32_t count);
double run_seconds(run *r, int32_t entry);
#endif
