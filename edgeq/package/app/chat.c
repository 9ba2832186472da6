/* A language model: one answer, or a conversation on a terminal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "talk.h"
#include "tokenizer.h"

#define LINE 4095 /* bytes: what Linux's terminals keep of a line */
#define COMMANDS "/clear forgets the conversation, /exit or Ctrl-D leaves, Ctrl-C stops an answer"

typedef struct {
  edgeq_app *app;
  edgeq_app_style style;
  edgeq_app_conversation talk;
  const char *given; /* --prompt */
  int raw;
  edgeq_app_tokens fed, prompt;     /* what the context holds; what it shall hold next */
  edgeq_app_buffer rendered, answer; /* scratch */
} chat;

static double rate(int32_t tokens, uint64_t ns) { return ns ? tokens / ((double)ns * 1e-9) : 0; }

static void report(const chat *c, const edgeq_app_stats *s)
{
  double fed = rate(s->prompt - s->reused, s->prompt_ns), drawn = rate(s->drawn - 1, s->decode_ns);
  char speed[48] = ""; /* one token has none: it comes with the prompt */
  if (s->drawn > 1) snprintf(speed, sizeof speed, " at %.*f tok/s", edgeq_app_decimals(drawn), drawn);
  edgeq_app_note(c->app, "%d prompt tokens at %.*f tok/s, %d new%s, first after %.0f ms", s->prompt - s->reused,
                 edgeq_app_decimals(fed), fed, s->drawn, speed, (double)s->first_ns * 1e-6);
  if (!s->reason) return;
  if (!strcmp(s->reason, "context")) edgeq_app_note(c->app, "stopped: the context is full");
  if (!strcmp(s->reason, "length")) edgeq_app_note(c->app, "stopped after %d token%s, as --max-tokens says", s->drawn, s->drawn == 1 ? "" : "s");
}

static void print_json(const chat *c, const edgeq_app_stats *s)
{
  printf("{\"text\": ");
  edgeq_app_print_json(c->answer.data ? c->answer.data : "", c->answer.bytes);
  printf(", \"reason\": \"%s\", \"prompt_tokens\": %d, \"new_tokens\": %d, \"prompt_tokens_per_second\": %.6g, "
         "\"decode_tokens_per_second\": %.6g, \"first_token_seconds\": %.6g}\n", s->reason, s->prompt, s->drawn,
         rate(s->prompt - s->reused, s->prompt_ns), rate(s->drawn - 1, s->decode_ns), (double)s->first_ns * 1e-9);
}

/* Tokens of what was said, or of a plain text. Special tokens written in a text are special, as in `edgeq run`. */
static int tokenize(chat *c)
{
  if (c->raw)
    return edgeq_app_tokenize(c->app, c->talk.said[0].data, c->talk.said[0].bytes, EDGEQ_ADD_SPECIAL | EDGEQ_PARSE_SPECIAL, &c->prompt);
  c->rendered.bytes = 0;
  edgeq_app_add(&c->rendered, "", 0);
  int status = edgeq_app_render(c->app, &c->talk, &c->rendered);
  return status ? status : edgeq_app_tokenize(c->app, c->rendered.data, c->rendered.bytes, EDGEQ_PARSE_SPECIAL, &c->prompt);
}

/* Answers the last message. EDGEQ_APP_INTERRUPTED after Ctrl-C. */
static int answer(chat *c)
{
  edgeq_app_stats stats;
  int show = !c->app->options.json, status = tokenize(c);
  if (!status) status = edgeq_app_answer(c->app, &c->style, &c->fed, &c->prompt, c->raw, show, &c->answer, &stats);
  if (status) return status;
  if (show) putchar('\n');
  if (!stats.reason) return EDGEQ_APP_INTERRUPTED;
  if (show) report(c, &stats);
  else print_json(c, &stats);
  return EDGEQ_OK;
}

static int answer_one(chat *c, const char *text, size_t bytes)
{
  if (!bytes) return edgeq_app_fail(c->app, EDGEQ_USAGE, "no prompt: give \"a prompt\", or text on stdin");
  int status = edgeq_app_check_utf8(c->app, "the prompt", text, bytes);
  if (status) return status;
  edgeq_app_say(&c->talk, text, bytes);
  return answer(c);
}

/* One more message and its answer; without both when there is no room for them. */
static int take_turn(chat *c, edgeq_app_span line)
{
  int count = c->talk.count, status = edgeq_app_check_utf8(c->app, "the message", line.data, line.bytes);
  if (status) return EDGEQ_OK;
  edgeq_app_say(&c->talk, line.data, line.bytes);
  status = answer(c);
  if (!status) edgeq_app_say(&c->talk, c->answer.data ? c->answer.data : "", c->answer.bytes);
  else edgeq_app_unsay(&c->talk, count);
  if (status == EDGEQ_CONTEXT) edgeq_app_note(c->app, "/clear begins anew");
  return status == EDGEQ_CONTEXT || status == EDGEQ_USAGE || status == EDGEQ_APP_INTERRUPTED ? EDGEQ_OK : status;
}

/* A line without spaces that begins with a slash; what is none is answered with those there are. 1: leave. */
static int obey(chat *c, edgeq_app_span line)
{
  if (line.bytes == 5 && !memcmp(line.data, "/exit", 5)) return 1;
  if (line.bytes == 6 && !memcmp(line.data, "/clear", 6)) edgeq_app_unsay(&c->talk, 0);
  else fprintf(stderr, "%s: %s\n", c->app->name, COMMANDS);
  return 0;
}

static int is_command(edgeq_app_span line) { return line.data[0] == '/' && !memchr(line.data, ' ', line.bytes); }

static int converse(chat *c)
{
  edgeq_app_buffer line = {0};
  int status = EDGEQ_OK;
  edgeq_app_note(c->app, "type a message; " COMMANDS);
  while (!status) {
    edgeq_app_end_at_stop();
    fputs("> ", stdout);
    fflush(stdout);
    if (!edgeq_app_read_line(&line, stdin)) {
      putchar('\n');
      break;
    }
    edgeq_app_span said = edgeq_app_strip((edgeq_app_span){line.data, line.bytes}, EDGEQ_APP_LEFT | EDGEQ_APP_RIGHT);
    if (line.bytes >= LINE)
      edgeq_app_fail(c->app, EDGEQ_USAGE, "a terminal keeps %d bytes of a line: give long texts on stdin (%s < FILE)", LINE, c->app->name);
    else if (said.bytes && is_command(said) && obey(c, said)) break;
    else if (said.bytes && !is_command(said)) status = take_turn(c, said);
  }
  edgeq_app_drop(&line);
  return status;
}

static int answer_stdin(chat *c)
{
  edgeq_app_buffer text = {0};
  edgeq_app_add(&text, "", 0);
  edgeq_app_read_all(&text, stdin);
  edgeq_app_span prompt = edgeq_app_strip((edgeq_app_span){text.data, text.bytes}, EDGEQ_APP_LEFT | EDGEQ_APP_RIGHT);
  int status = answer_one(c, prompt.data, prompt.bytes);
  edgeq_app_drop(&text);
  return status;
}

/* Words between spaces: adb and ssh split a prompt in quotes. */
static int answer_words(chat *c, int n, char **words)
{
  edgeq_app_buffer text = {0};
  for (int i = 0; i < n; i++) {
    edgeq_app_add_text(&text, i ? " " : "");
    edgeq_app_add_text(&text, words[i]);
  }
  int status = answer_one(c, text.data, text.bytes);
  edgeq_app_drop(&text);
  return status;
}

static int check(const chat *c, int arguments)
{
  const char *system = c->talk.system;
  if (arguments && c->given) return edgeq_app_fail(c->app, EDGEQ_USAGE, "two prompts: give one, with --prompt or without");
  if (c->raw && system)
    return edgeq_app_fail(c->app, EDGEQ_USAGE, "--system is part of the chat template, which --raw leaves out: give one of them");
  if (!arguments && !c->given && isatty(STDIN_FILENO) && (c->raw || c->app->options.json))
    return edgeq_app_fail(c->app, EDGEQ_USAGE, "%s: give \"a prompt\", or text on stdin",
                          c->raw ? "--raw continues a text" : "--json is of one answer");
  return system ? edgeq_app_check_utf8(c->app, "--system", system, strlen(system)) : EDGEQ_OK;
}

static int run(chat *c, int argc, char **argv)
{
  int status = check(c, argc - 1);
  if (!status) status = edgeq_app_open_text(c->app);
  if (status) return status;
  if (c->given) return answer_one(c, c->given, strlen(c->given));
  if (argc > 1) return answer_words(c, argc - 1, argv + 1);
  return isatty(STDIN_FILENO) ? converse(c) : answer_stdin(c);
}

static void close_chat(chat *c)
{
  edgeq_app_unsay(&c->talk, 0);
  free(c->talk.said);
  free(c->fed.id);
  free(c->prompt.id);
  free(c->style.stop.item);
  edgeq_app_drop(&c->rendered);
  edgeq_app_drop(&c->answer);
  edgeq_app_close_text(c->app);
}

int edgeq_app_chat(edgeq_app *app, int argc, char **argv)
{
  chat c = {.app = app};
  double temperature = 0, top_p = 1;
  const edgeq_app_option options[] = {
    {"--prompt", 'p', EDGEQ_APP_TEXT, &c.given, "TEXT", "the same as PROMPT"},
    {"--system", 0, EDGEQ_APP_TEXT, &c.talk.system, "TEXT", "system message"},
    {"--raw", 0, EDGEQ_APP_FLAG, &c.raw, NULL, "continue the prompt as it is, without the chat template"},
    {"--max-tokens", 'n', EDGEQ_APP_INT, &c.style.max_tokens, "N", "stop after so many [context's end]", 1, INT32_MAX},
    {"--temperature", 0, EDGEQ_APP_NUMBER, &temperature, "T", "0 is greedy [0]", 0, 1e6},
    {"--top-k", 0, EDGEQ_APP_INT, &c.style.sampling.top_k, "N", "keep the likeliest tokens, 0: all [0]", 0, INT32_MAX},
    {"--top-p", 0, EDGEQ_APP_NUMBER, &top_p, "P", "keep the likeliest that reach this probability [1]", 1e-9, 1},
    {"--seed", 0, EDGEQ_APP_SEED, &c.style.sampling.seed, "N", "of the draws [0]"},
    {"--stop", 0, EDGEQ_APP_TEXTS, &c.style.stop, "TEXT", "end when this text appears; may be repeated"},
    {0},
  };
  int status = edgeq_app_start(app, &argc, argv, "[\"PROMPT\"]", options);
  c.style.sampling.temperature = (float)temperature;
  c.style.sampling.top_p = (float)top_p;
  if (!status) status = run(&c, argc, argv);
  close_chat(&c);
  return status;
}
