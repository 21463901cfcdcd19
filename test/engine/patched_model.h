/*
 * patched_model.h - a checkpoint of test/models converted with another dlm.json.
 */
#ifndef PATCHED_MODEL_H
#define PATCHED_MODEL_H

#include "files.h"
#include "tiny_model.h"

/* As tiny_open, with `settings` as dlm.json. */
static inline bool
patched_open(const char *name, const cJSON *settings, tiny_model *out)
{
	char		folder[256],
				command[1024],
				path[300];
	dlm_error	err = {0};
	dlm_convert_options options = {.weights = DLM_WEIGHTS_F32};
	char	   *text = cJSON_Print(settings);
	FILE	   *f;
	bool		ok;

	files_folder(folder);
	snprintf(command, sizeof(command), "cp test/models/%s/* %s/", name, folder);
	ok = system(command) == 0;
	snprintf(path, sizeof(path), "%s/dlm.json", folder);
	f = fopen(path, "wb");
	ok = ok && f != NULL && fputs(text, f) >= 0;
	if (f != NULL)
		fclose(f);
	free(text);
	snprintf(path, sizeof(path), "%s/m.dlm", folder);
	ok = ok && dlm_convert(folder, path, &options, NULL, &err) == DLM_OK;
	CHECK(ok, "%s: %s", name, err.message);
	ok = ok && tiny_open_file(path, out);
	files_remove(folder);
	return ok;
}

#endif							/* PATCHED_MODEL_H */
