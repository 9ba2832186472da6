/* A conversation as text: the literal segments of the model's chat template around what was said. */
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

static const char *find(edgeq_app_span text, const char *part)
{
  return memmem(text.data, text.bytes, part, strlen(part));
}

/* Texts that the template treats in a way which segments cannot. */
static int check(const edgeq_app *app, const char *role, edgeq_app_span text)
{
  const char *part;
  for (int i = 0; (part = edgeq_app_fact(app, "chat.content.%s.refused.%d", role, i)); i++)
    if (find(text, part))
      return edgeq_app_fail(app, EDGEQ_USAGE, "\"%s\" in the %s's message means something to the model's chat template, which "
                            "a packaged program cannot do: leave it out, or use --raw", part, role);
  return EDGEQ_OK;
}

static int put_content(const edgeq_app *app, const char *role, edgeq_app_span text, edgeq_app_buffer *out)
{
  const char *after = edgeq_app_fact(app, "chat.content.%s.after", role);
  const char *strip = edgeq_app_fact(app, "chat.content.%s.strip", role), *at;
  int status = check(app, role, text), cut = 0;
  while (after && (at = find(text, after))) {
    text.bytes -= (size_t)(at - text.data) + strlen(after);
    text.data = at + strlen(after);
    cut = 1;
  }
  if (cut) text = edgeq_app_strip_newlines(text);
  if (strip) text = edgeq_app_strip(text, (*strip == 'l' ? 0 : EDGEQ_APP_RIGHT) | (*strip == 'r' ? 0 : EDGEQ_APP_LEFT));
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
  int has_system = talk->system && *talk->system, status = EDGEQ_OK;
  const char *text = edgeq_app_fact(app, "chat.%s.%s.%s", has_system ? "system" : "bare", kind, which);
  while (text && *text) {
    size_t n = strcspn(text, "\x01\x02");
    edgeq_app_add(out, text, n);
    text += n;
    if (*text == SYSTEM) {
      status = put_content(app, "system", (edgeq_app_span){talk->system, strlen(talk->system)}, out);
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
    if (!status) status = put_content(app, is_user ? "user" : "assistant", text, out);
  }
  return status ? status : put_segment(app, talk, "close", users == 1 ? "only" : "last", out);
}
