/* The program's beginning and end. */
#include <stdio.h>
#include <string.h>

#include "app.h"
#include "parts.h"

#ifndef EDGEQ_APP_RUN
#error "say what the program does: -DEDGEQ_APP_RUN=edgeq_app_chat"
#endif

/* What was printed must have arrived: a full disk is an error; a reader that left has ended us already (SIGPIPE). */
static int finish(const edgeq_app *app, int status)
{
  if (!fflush(stdout) && !ferror(stdout)) return status;
  return status > 0 ? status : edgeq_app_fail(app, EDGEQ_APP_OUTPUT, "the answer cannot be written");
}

int main(int argc, char **argv)
{
  const char *slash = argc ? strrchr(argv[0], '/') : NULL;
  edgeq_app app = {.name = slash ? slash + 1 : argc ? argv[0] : "app"};
  int status = edgeq_app_find_sections(&app);
  if (!status) status = EDGEQ_APP_RUN(&app, argc, argv);
  edgeq_close(app.ctx);
  status = finish(&app, status);
  return status == EDGEQ_APP_DONE ? 0 : status;
}
