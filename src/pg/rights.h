/*
 * rights.h - rights on tables, and whose rights the code of a table runs with.
 *
 * CHECKs, casts to domains, triggers and index expressions are code that a
 * table's owner has chosen, and may find what they name by the search_path of
 * the session. Run as the owner for anybody, they would lend the owner's
 * rights to who sets that path; run as a caller who may do more than the
 * owner, they would lend the caller's to the owner.
 */
#ifndef DLM_PG_RIGHTS_H
#define DLM_PG_RIGHTS_H

#include "nodes/parsenodes.h"

/* The owner, if the current user has all rights of that role and more (a superuser); else the current user, as in any UPDATE. */
extern Oid	dlm_role_of_code(Oid owner);

/* Has the role this right (ACL_SELECT, ACL_UPDATE) on the column, by itself or with the whole table? */
extern bool dlm_column_right(Oid table, AttrNumber attnum, Oid role, AclMode right);

#endif							/* DLM_PG_RIGHTS_H */
