/*
 * owner.h - whose rights the code of a table runs with.
 *
 * CHECKs, casts to domains, triggers and index expressions are code that a
 * table's owner has chosen, and may find what they name by the search_path of
 * the session. Run as the owner for anybody, they would lend the owner's
 * rights to who sets that path; run as a caller who may do more than the
 * owner, they would lend the caller's to the owner.
 */
#ifndef DLM_PG_OWNER_H
#define DLM_PG_OWNER_H

/* The owner, if the current user has all rights of that role and more (a superuser); else the current user, as in any UPDATE. */
extern Oid	dlm_role_of_code(Oid owner);

#endif							/* DLM_PG_OWNER_H */
