/* Uses a model as a C program would, from several threads, for builds with sanitizers: argv[1] is the weights. Prints a sum
 * of logits that does not depend on the number of threads. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "edgeq.h"

static const char *path;

static double use(int32_t threads, uint32_t flags)
{
  const edgeq_options options = {threads, flags, NULL};
  const edgeq_sampling sampling = {.temperature = 50, .top_p = 0.9f, .top_k = 40, .seed = 3};
  const int32_t prompt[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  edgeq_context *ctx;
  edgeq_facts facts;
  double sum = 0;
  if (edgeq_open(path, &options, &ctx)) {
    fprintf(stderr, "%s\n", edgeq_error(ctx));
    exit(1);
  }
  edgeq_info(ctx, &facts);
  edgeq_profile(ctx, 1);
  for (int round = 0; round < 3; round++) {
    edgeq_rewind(ctx, 0);
    int status = edgeq_feed(ctx, prompt, 11);
    while (!status) {
      int32_t id;
      sum += edgeq_logits(ctx)[round];
      if (!edgeq_sample(ctx, round ? &sampling : NULL, &id)) status = edgeq_feed(ctx, &id, 1);
    }
    if (status != EDGEQ_CONTEXT || edgeq_position(ctx) != facts.context) exit(2);
  }
  edgeq_time times[3];
  edgeq_profile_read(ctx, 0, times, NULL, NULL);
  for (int32_t t = 1; t <= 3; t++) {
    if (edgeq_run_region(ctx, 1, 1, prompt, 8, facts.context - 8, t)) exit(3);
    if (edgeq_set_threads(ctx, t, flags)) exit(4);
  }
  edgeq_close(ctx);
  return sum;
}

static void *use_in_thread(void *result)
{
  for (int i = 0; i < 3; i++) *(double *)result = use(2, 0);
  return NULL;
}

int main(int argc, char **argv)
{
  if (argc != 2) return 5;
  path = argv[1];
  double sums[5] = {use(1, 0), use(2, 0), use(3, EDGEQ_FIXED_THREADS)};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, use_in_thread, &sums[3 + i]);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  for (int i = 1; i < 5; i++)
    if (sums[i] != sums[0]) return 6;
  edgeq_context *none;
  if (edgeq_open("/nowhere", NULL, &none) != EDGEQ_ARTIFACT || edgeq_feed(none, NULL, 1) != EDGEQ_USAGE) return 7;
  if (edgeq_logits(none) || edgeq_memory(none, EDGEQ_ARENA, NULL) || edgeq_position(none) != -1) return 8;
  edgeq_close(none);
  edgeq_close(NULL);
  printf("%.0f\n", sums[0]);
  return 0;
}
