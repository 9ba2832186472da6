/* A conversation as text: the literal segments of the model's chat template around what was said. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "talk.h"

#define SYSTEM '\x01' /* in a segment: the system message */
#define DATE '\x02'   /* in a segment: around a strftime format */

void edgeq_app_say(edgeq_app_conversation *talk, const char *text, size_t bytes)
{
  if (talk->count == talk->room) {
    talk->room = talk->room * 2 + 8;
    talk->said = edgeq_app_grow(talk->said, (size_t)talk->room * sizeof *talk->said);
  }
  talk->said[talk->count] = (edgeq_app_buffer){0};
  edgeq_app_add(&talk->said[talk->count++], text, bytes);
}

void edgeq_app_unsay(edgeq_app_conversation *talk, int count)
{
  while (talk->count > count) edgeq_app_drop(&talk->said[--talk->count]);
}

/* Conversations with a system message have segments of their own. */
static const char *side(const edgeq_app_conversation *talk) { return talk->system && *talk->system ? "system" : "bare"; }

static const char *find(edgeq_app_span text, const char *part)
{
  return memmem(text.data, text.bytes, part, strlen(part));
}

/* A voice is "system", "first" (of the user's messages), "user", "earlier" (than the last answer) or "assistant". */
static const char *role_of(const char *voice)
{
  return *voice == 's' ? "system" : *voice == 'f' || *voice == 'u' ? "user" : "assistant";
}

static const char *content(const edgeq_app *app, const edgeq_app_conversation *talk, const char *voice, const char *what)
{
  return edgeq_app_fact(app, "chat.%s.content.%s.%s", side(talk), voice, what);
}

/* What follows the last `after`; *is_cut when there was one. */
static edgeq_app_span cut(edgeq_app_span text, const char *after, int *is_cut)
{
  const char *at;
  while (after && (at = find(text, after))) {
    text.bytes -= (size_t)(at - text.data) + strlen(after);
    text.data = at + strlen(after);
    *is_cut = 1;
  }
  return text;
}

/* Takes off what STRIPS of edgeq/package/conversation.py says; NULL: nothing. */
static edgeq_app_span strip(edgeq_app_span text, const char *how)
{
  if (!how) return text;
  if (*how == 'n') return edgeq_app_strip_newlines(text);
  return edgeq_app_strip(text, (*how == 'l' ? 0 : EDGEQ_APP_RIGHT) | (*how == 'r' ? 0 : EDGEQ_APP_LEFT));
}

/* Texts that the template treats in a way which segments cannot. */
static int check(const edgeq_app *app, const edgeq_app_conversation *talk, const char *voice, edgeq_app_span text)
{
  const char *part;
  char item[24];
  if (content(app, talk, voice, "filled") && !edgeq_app_strip(text, EDGEQ_APP_LEFT).bytes)
    return edgeq_app_fail(app, EDGEQ_USAGE, "an empty message of the %s means something to the model's chat template, which a "
                          "packaged program cannot do: begin anew, or use --raw", role_of(voice));
  for (int i = 0; snprintf(item, sizeof item, "refused.%d", i), (part = content(app, talk, voice, item)); i++)
    if (find(text, part))
      return edgeq_app_fail(app, EDGEQ_USAGE, "\"%s\" in a message of the %s means something to the model's chat template, which "
                            "a packaged program cannot do: leave it out, or use --raw", part, role_of(voice));
  return EDGEQ_OK;
}

static int put_content(const edgeq_app *app, const edgeq_app_conversation *talk, const char *voice, edgeq_app_span text,
                       edgeq_app_buffer *out)
{
  const char *after = content(app, talk, voice, "after");
  int is_cut = 0, status = check(app, talk, voice, cut(text, after, &is_cut));
  text = cut(strip(text, content(app, talk, voice, "strip")), after, &is_cut);
  if (is_cut) text = strip(text, content(app, talk, voice, "cut"));
  edgeq_app_add(out, text.data, text.bytes);
  return status;
}

static void put_date(const char *form, size_t bytes, edgeq_app_buffer *out)
{
  char format[64], text[128];
  time_t now = time(NULL);
  struct tm parts;
  if (bytes >= sizeof format || !localtime_r(&now, &parts)) return;
  memcpy(format, form, bytes);
  format[bytes] = 0;
  edgeq_app_add(out, text, strftime(text, sizeof text, format, &parts));
}

static int put_segment(const edgeq_app *app, const edgeq_app_conversation *talk, const char *kind, const char *which, edgeq_app_buffer *out)
{
  int has_system = *side(talk) == 's', status = EDGEQ_OK;
  const char *text = edgeq_app_fact(app, "chat.%s.%s.%s", side(talk), kind, which);
  while (text && *text) {
    size_t n = strcspn(text, "\x01\x02");
    edgeq_app_add(out, text, n);
    text += n;
    if (*text == SYSTEM) {
      status = put_content(app, talk, "system", (edgeq_app_span){talk->system, strlen(talk->system)}, out);
      text++;
    } else if (*text == DATE) {
      n = strcspn(text + 1, "\x02");
      put_date(text + 1, n, out);
      text += n + 2;
    }
    if (status) return status;
  }
  return text ? EDGEQ_OK
              : edgeq_app_fail(app, EDGEQ_USAGE, "the model's chat template refuses conversations %s a system message%s",
                               has_system ? "with" : "without", has_system ? ": leave out --system" : ": give --system");
}

static const char *voice(int i, int count)
{
  if (i % 2 == 0) return i ? "user" : "first";
  return i == count - 2 ? "assistant" : "earlier";
}

static const char *place(int i, int count)
{
  if (count == 1) return "only";
  return !i ? "first" : i == count - 1 ? "last" : "middle";
}

int edgeq_app_render(const edgeq_app *app, const edgeq_app_conversation *talk, edgeq_app_buffer *out)
{
  int users = (talk->count + 1) / 2, status = EDGEQ_OK;
  if (!edgeq_app_fact(app, "chat"))
    return edgeq_app_fail(app, EDGEQ_USAGE, "this model has no chat template: continue a plain text with --raw");
  for (int i = 0; i < talk->count && !status; i++) {
    int is_user = i % 2 == 0;
    edgeq_app_span text = {talk->said[i].data, talk->said[i].bytes};
    status = put_segment(app, talk, is_user ? "before" : "after", is_user ? place(i / 2, users) : i == 1 ? "first" : "later", out);
    if (!status) status = put_content(app, talk, voice(i, talk->count), text, out);
  }
  return status ? status : put_segment(app, talk, "close", users == 1 ? "only" : "last", out);
}
