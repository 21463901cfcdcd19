/*
 * owner.c - see owner.h.
 */
#include "dlm_pg.h"

#include "miscadmin.h"
#include "utils/acl.h"

#include "owner.h"

Oid
dlm_role_of_code(Oid owner)
{
	Oid			user = GetUserId();

	return has_privs_of_role(user, owner) && !has_privs_of_role(owner, user) ? owner : user;
}
